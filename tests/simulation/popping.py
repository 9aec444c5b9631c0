"""Popped messages under the same faults: none lost, none again that was acknowledged, none before its time."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from gantry.errors import MQError
from gantry.protocol.message.record import decode_records
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.ack_message import AckMessageRequestHeader
from gantry.protocol.remoting.header.change_message_invisibletime import ChangeInvisibleTimeRequestHeader
from gantry.protocol.remoting.header.pop_message import PopMessageRequestHeader
from gantry.protocol.remoting.header.send_message import SendMessageRequestHeader
from gantry.runtime.remoting_client import RemotingClient
from gantry.testing.simulated_cluster import SimulatedBroker, SimulatedCluster
from tests.unit.broker.pop_rig import Popped, popped

if TYPE_CHECKING:
    from gantry.testing.seeded_rng import SeededRng

    from .trace import Trace

TOPIC, GROUP = "T", "poppers"
QUEUES = 2
CONSUMERS = 2
ANSWERED_WITHIN_MS = 3_000
PAUSE_MS = 1_500
INVISIBLE_MS = (1_000, 15_000)
ACK_SHARE, CHANGE_SHARE = 0.6, 0.15
FORGOTTEN_MS = 30_000
"""A power cut may take back acknowledgements that are younger: the journal is synced with the offsets, every 5 s on a disk
that is well."""
CLOCK_SLACK_MS = 2
DONE_WITHIN_MS = 240_000


class _Known:
    """What is known of one message. Times are monotonic ms."""

    def __init__(self, broker: str) -> None:
        self.broker = broker
        self.stored = False
        self.acknowledged_ms: int | None = None
        self.out_until_ms = 0
        self.popped_ms = 0
        self.maybe_twice = False
        """It may have been given back and that forgotten, so that there are two of it."""


class Popping:
    """A sender and two consumers that pop from both brokers, acknowledge most, change some and forget the rest."""

    def __init__(self, cluster: SimulatedCluster, rng: SeededRng, trace: Trace, seed: int, *, sync: bool) -> None:
        self._cluster = cluster
        self._clock = cluster.clock
        self._rng = rng
        self._trace = trace
        self._seed = seed
        self._sync = sync
        self._known: dict[bytes, _Known] = {}
        self._jumped: set[str] = set()
        self._failed_ms: dict[str, int] = {}
        """When a broker's disk or power failed last: what was asked before and answered after it counts for nothing."""
        self._pops = self._again = 0
        self._healed = self._stopping = False

    def work(self) -> list[Coroutine[Any, Any, None]]:
        return [self._send(), *(self._consume(number) for number in range(CONSUMERS))]

    def stop(self) -> None:
        self._stopping = True

    def summary(self) -> str:
        done = sum(known.acknowledged_ms is not None for known in self._known.values())
        certain = sum(not known.maybe_twice for known in self._known.values())
        return f"{self._pops} popped, {self._again} of them again, {done} done, {certain} of {len(self._known)} for certain"

    # -- what faults tell

    def power_fails(self, broker: str) -> None:
        """Young acknowledgements may be forgotten, and what was out or was given back lately may come once more."""
        self._unsure(broker, FORGOTTEN_MS)

    def disk_fails(self, broker: str) -> None:
        """What is given back and cannot be noted is given back again, so there may be two of it from now on."""
        self._unsure(broker, 1 << 60)

    def _unsure(self, broker: str, younger_than_ms: int) -> None:
        now = self._failed_ms[broker] = self._clock.monotonic_ms()
        for known in self._known.values():
            if known.broker != broker:
                continue
            if known.acknowledged_ms is None or now - known.acknowledged_ms < younger_than_ms:
                known.maybe_twice = True

    def wall_jumps(self) -> None:
        """Deadlines follow elapsed time, but a broker that starts anew counts from its wall clock."""
        self._jumped = {broker.name for broker in self._cluster.brokers}

    def starts(self, broker: str) -> None:
        if broker in self._jumped:
            self._jumped.discard(broker)
            for known in self._known.values():
                if known.broker == broker:
                    known.out_until_ms = 0

    # -- load

    async def _send(self) -> None:
        client = RemotingClient(self._cluster.net, self._clock)
        number = 0
        try:
            while not self._healed:
                broker = self._rng.choice(self._cluster.brokers)
                body = b"popped %d" % number
                number += 1
                known = self._known[body] = _Known(broker.name)
                request = RemotingCommand.request(
                    SendMessageRequestHeader(
                        producer_group="p", topic=TOPIC, default_topic="TBW102", default_topic_queue_nums=QUEUES,
                        queue_id=number % QUEUES, sys_flag=0, born_timestamp=self._clock.now_ms(), flag=0,
                        properties=f"UNIQ_KEY\x01{number:032x}\x02",
                    ),
                    body,
                )  # fmt: skip
                answer = await self._ask(client, broker, request)
                known.stored = answer is not None and answer.code == 0
                await self._clock.sleep_ms(self._rng.randrange(PAUSE_MS))
        finally:
            await client.close()

    async def _consume(self, number: int) -> None:
        client = RemotingClient(self._cluster.net, self._clock)
        rng = self._rng.fork(f"consumer {number}")
        try:
            while not self._stopping:
                broker = rng.choice(self._cluster.brokers)
                invisible_ms = INVISIBLE_MS[0] + rng.randrange(INVISIBLE_MS[1] - INVISIBLE_MS[0])
                began = self._clock.monotonic_ms()
                header = PopMessageRequestHeader(
                    consumer_group=GROUP, topic=TOPIC, queue_id=-1, max_msg_nums=8, invisible_time=invisible_ms,
                    poll_time=500, born_time=0,
                )  # fmt: skip
                answer = await self._ask(client, broker, RemotingCommand.request(header))
                if answer is None or answer.code != 0:
                    await self._clock.sleep_ms(300)
                    continue
                assert list(decode_records(answer.body))
                for one in popped(answer, TOPIC, GROUP, broker.name):
                    self._see(one, began, invisible_ms)
                    await self._deal_with(client, broker, one, rng)
        finally:
            await client.close()

    async def _deal_with(self, client: RemotingClient, broker: SimulatedBroker, one: Popped, rng: SeededRng) -> None:
        known = self._known[one.body]
        share = 0.0 if self._healed else rng.random()
        what = {"consumer_group": GROUP, "topic": one.topic, "queue_id": one.queue_id, "offset": one.offset}
        mine_until = known.out_until_ms
        if share < ACK_SHARE:
            request = RemotingCommand.request(AckMessageRequestHeader(extra_info=one.handle, **what))  # type: ignore[arg-type]
            began = self._clock.monotonic_ms()
            answer = await self._ask(client, broker, request)
            # Only an acknowledgement that was answered before the time was over counts for certain.
            in_time = self._clock.monotonic_ms() < mine_until and began > self._failed_ms.get(broker.name, -1)
            if answer is not None and answer.code == 0 and in_time:
                known.acknowledged_ms = self._clock.monotonic_ms()
        elif share < ACK_SHARE + CHANGE_SHARE:
            invisible_ms = INVISIBLE_MS[0] + rng.randrange(4_000)
            began = self._clock.monotonic_ms()
            known.out_until_ms = min(known.out_until_ms, began + invisible_ms)
            change = ChangeInvisibleTimeRequestHeader(extra_info=one.handle, invisible_time=invisible_ms, **what)  # type: ignore[arg-type]
            answer = await self._ask(client, broker, RemotingCommand.request(change))
            in_time = self._clock.monotonic_ms() < mine_until and began > self._failed_ms.get(broker.name, -1)
            if answer is not None and answer.code == 0 and in_time:
                known.out_until_ms = began + invisible_ms

    def _see(self, one: Popped, began_ms: int, invisible_ms: int) -> None:
        assert one.body in self._known, f"C3: {one.body!r} was never sent, seed {self._seed}"
        known, now = self._known[one.body], self._clock.monotonic_ms()
        if not known.maybe_twice:
            assert known.acknowledged_ms is None, (
                f"POP: {one.body!r} was acknowledged {now - known.acknowledged_ms} ms ago and came again, seed {self._seed}"
            )
            early_ms = known.out_until_ms - now - CLOCK_SLACK_MS
            assert early_ms <= 0, f"POP: {one.body!r} came {early_ms} ms before its time, seed {self._seed}"
        self._pops += 1
        self._again += known.popped_ms > 0
        known.popped_ms = now
        # The broker began to count after it was asked.
        known.out_until_ms = began_ms + invisible_ms if began_ms > self._failed_ms.get(known.broker, -1) else 0

    async def check_after_healing(self) -> None:
        """Under SYNC_FLUSH all that were stored are popped and acknowledged in the end."""
        self._healed = True
        limit_ms = self._clock.monotonic_ms() + DONE_WITHIN_MS
        while self._sync and (missing := [body for body, known in self._known.items() if known.stored and not known.popped_ms]):
            assert self._clock.monotonic_ms() < limit_ms, (
                f"POP: {len(missing)} messages were never popped, the first: {missing[0]!r}, seed {self._seed}"
            )
            await self._clock.sleep_ms(1_000)
        for broker in self._cluster.brokers:
            while broker.controller.context.pop.account.ledger.out_count:
                assert self._clock.monotonic_ms() < limit_ms, f"POP: messages stay out for ever, seed {self._seed}"
                await self._clock.sleep_ms(1_000)
        self._trace.add(self.summary())

    async def _ask(self, client: RemotingClient, broker: SimulatedBroker, request: RemotingCommand) -> RemotingCommand | None:
        try:
            return await client.invoke(broker.address, request, ANSWERED_WITHIN_MS)
        except MQError:
            return None
