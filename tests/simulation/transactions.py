"""C8: transactions under the same faults. A half is hidden until its commit, what is rolled back is never seen, what nobody
ends is asked for up to the limit and then set aside, and nothing is dropped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gantry.client import (
    Message,
    MessageExt,
    ProducerOptions,
    SendStatus,
    TransactionProducer,
    TransactionState,
)
from gantry.errors import MQError
from gantry.model import message_const, topic_validator
from gantry.testing.simulated_cluster import SimulatedCluster

from .reading import read_topics

if TYPE_CHECKING:
    from gantry.testing.seeded_rng import SeededRng

    from .trace import Trace

TOPIC = "Transacted"
PARKED = topic_validator.TRANS_CHECK_MAX_TIME_TOPIC
GROUP = "transactions"
CHECK_MAX = 15
SETTINGS = {"transactionTimeOut": "1000", "transactionCheckInterval": "4000"}
"""The limit of checks stays what it is by default; a round comes sooner."""

COMMIT, ROLLBACK, UNKNOWN = TransactionState.COMMIT, TransactionState.ROLLBACK, TransactionState.UNKNOWN
PAUSE_MS = 4_000
AT_REST_EACH = 2
ALL_ENDED_WITHIN_MS = 400_000


@dataclass(frozen=True)
class Script:
    """What a transaction answers at once, and how it answers the check of this number."""

    local: TransactionState
    at_check: int
    end: TransactionState


SCRIPTS = {
    "commit": Script(COMMIT, 0, COMMIT),
    "rollback": Script(ROLLBACK, 0, ROLLBACK),
    "commit when asked": Script(UNKNOWN, 1, COMMIT),
    "commit when asked again": Script(UNKNOWN, 3, COMMIT),
    "rollback when asked": Script(UNKNOWN, 2, ROLLBACK),
    "never": Script(UNKNOWN, CHECK_MAX + 1, UNKNOWN),
}


class Transactions:
    """Sends in transactions to both brokers, answers their checks, reads what comes out and what is set aside."""

    def __init__(self, cluster: SimulatedCluster, rng: SeededRng, trace: Trace, seed: int, *, sync: bool) -> None:
        self._cluster = cluster
        self._clock = cluster.clock
        self._rng = rng
        self._trace = trace
        self._seed = seed
        self._sync = sync
        self._scripts: dict[bytes, Script] = {}
        self._executed: set[bytes] = set()
        self._stored: set[bytes] = set()
        """Halves that a broker has acknowledged."""
        self._ended: dict[bytes, TransactionState] = {}
        """Ends that a broker has acknowledged."""
        self._decided: dict[bytes, TransactionState] = {}
        """What the listener has said, first at once and later when asked."""
        self._asked: Counter[bytes] = Counter()
        self._came: Counter[bytes] = Counter()
        self._parked: Counter[bytes] = Counter()
        self._healed = self._stopping = False
        self._broken = ""
        """What the listener has found: it cannot raise, an exception is an answer there."""

    @property
    def summary(self) -> str:
        return f"{sum(self._came.values())} came by commit, {sum(self._asked.values())} checks, {len(self._parked)} set aside"

    def stop(self) -> None:
        self._stopping = True

    # -- the listener

    async def execute_local_transaction(self, message: Message, argument: Any) -> TransactionState:
        self._executed.add(message.body)
        state = self._scripts[message.body].local
        if state is not UNKNOWN:
            self._decided[message.body] = state
        return state

    async def check_local_transaction(self, message: MessageExt) -> TransactionState:
        body = message.body
        self._asked[body] += 1
        times = int(message.properties[message_const.TRANSACTION_CHECK_TIMES])
        if times > CHECK_MAX:
            self._broken = self._broken or f"C8: {body!r} is checked for the {times}th time, seed {self._seed}"
        # Under ASYNC_FLUSH a power cut may take the copy that has the count.
        if self._sync and self._asked[body] > CHECK_MAX:
            self._broken = self._broken or f"C8: {body!r} was asked for {self._asked[body]} times, seed {self._seed}"
        script = self._scripts[body]
        state = UNKNOWN
        if body not in self._executed:
            state = ROLLBACK  # the sender was told of an error, and did nothing
        elif script.local is not UNKNOWN:
            state = script.local
        elif self._asked[body] >= script.at_check:
            state = script.end
        if state is not UNKNOWN:
            self._decided[body] = state
        return state

    # -- load

    async def send(self) -> None:
        """Until stop(): two producers of a group, which answer for each other; none begins a transaction once all is healed."""
        sender, other = self._producer(), self._producer()
        await sender.start()
        await other.start()
        try:
            # So that the brokers know the other one, too.
            while not self._stopping:
                if not self._healed:
                    await self._send_one(sender, self._rng.choice(sorted(SCRIPTS)))
                    if self._rng.random() < 0.2:
                        await self._send_one(other, "rollback")
                await self._clock.sleep_ms(self._rng.randrange(PAUSE_MS))
        finally:
            await sender.stop()
            await other.stop()

    async def read(self) -> None:
        """Until stop(): everything that comes out, and everything that is set aside."""

        def goes_on() -> bool:
            assert not self._broken, self._broken
            return not self._stopping

        def begins() -> None:
            # From the beginning again, so it is counted again.
            self._came.clear()
            self._parked.clear()

        topics = (TOPIC, PARKED)
        await read_topics(self._cluster, "transactions-reader", topics, goes_on=goes_on, see=self._see, begins=begins)

    async def check_after_healing(self) -> None:
        """Every half comes to its end; then a few more at rest, each exactly as it should be."""
        self._healed = True
        await self._until_all_ended()
        await self._clock.sleep_ms(10_000)
        assert not self._broken, self._broken
        if self._sync:
            for body in sorted(self._stored):
                outcome = self._ended.get(body) or self._decided.get(body, UNKNOWN)
                if self._ended.get(body) is COMMIT:
                    assert self._came[body], f"C8: {body!r} was committed and acknowledged, and never came, seed {self._seed}"
                elif outcome is not ROLLBACK:
                    there = self._came[body] or self._parked[body]
                    assert there, f"C8: {body!r} is dropped: it neither came nor was set aside, seed {self._seed}"
        before = set(self._scripts)
        producer = self._producer()
        await producer.start()
        try:
            for name in sorted(SCRIPTS):
                for _ in range(AT_REST_EACH):
                    assert await self._send_one(producer, name), f"C8: a half message is refused at rest, seed {self._seed}"
            await self._clock.sleep_ms(10_000)
            await self._until_all_ended()
            await self._clock.sleep_ms(10_000)
        finally:
            await producer.stop()
        for body in sorted(set(self._scripts) - before):
            script = self._scripts[body]
            seen = (self._came[body], self._parked[body], self._asked[body])
            wanted = (int(script.end is COMMIT), int(script.end is UNKNOWN), min(script.at_check, CHECK_MAX))
            assert seen == wanted, (
                f"C8: {body!r} came, was set aside and was asked for {seen} times, not {wanted}, seed {self._seed}"
            )
        self._trace.add(f"{len(self._stored)} halves, {self.summary}")

    # -- inside

    def _producer(self) -> TransactionProducer:
        # One attempt: a second half of the same message would be checked for itself.
        return self._cluster.transaction_producer(self, GROUP, options=ProducerOptions(retry_count=0))

    async def _until_all_ended(self) -> None:
        limit_ms = self._clock.monotonic_ms() + ALL_ENDED_WITHIN_MS
        while open_ := {
            broker.name: broker.controller.context.transactions.metrics.half_message_count for broker in self._cluster.brokers
        }:
            if not any(open_.values()):
                return
            assert self._clock.monotonic_ms() < limit_ms, f"C8: half messages have no end: {open_}, seed {self._seed}"
            assert not self._broken, self._broken
            await self._clock.sleep_ms(1_000)

    async def _send_one(self, producer: TransactionProducer, name: str) -> bool:
        body = b"%s %d" % (name.encode(), len(self._scripts))
        self._scripts[body] = SCRIPTS[name]
        try:
            result = await producer.send_in_transaction(Message.of(TOPIC, body))
        except MQError as error:
            self._trace.add(f"{body.decode()} {type(error).__name__}")
            return False
        self._trace.add(f"{body.decode()} {result.send.status.value} {result.state.name}, ended {result.ended}")
        if result.send.status is not SendStatus.SEND_OK:
            return False
        self._stored.add(body)
        if result.ended:
            self._ended[body] = result.state
        return True

    def _see(self, message: MessageExt) -> None:
        body = message.body
        assert body in self._scripts, f"C3: {body!r} was never sent, seed {self._seed}"
        if message.topic == PARKED:
            self._parked[body] += 1
            return
        decided = self._decided.get(body, UNKNOWN)
        assert decided is not ROLLBACK, f"C8: {body!r} was rolled back and came, seed {self._seed}"
        assert decided is COMMIT, f"C8: {body!r} came before it was committed, seed {self._seed}"
        self._came[body] += 1
