"""C9: delayed messages under the same faults: none early, none lost, and on a cluster at rest each once and in time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gantry.client import Message, MessageExt, Producer, SendStatus
from gantry.errors import MQError
from gantry.testing.simulated_cluster import SimulatedCluster

from .reading import read_topics

if TYPE_CHECKING:
    from gantry.testing.seeded_rng import SeededRng

    from .trace import Trace

TOPIC = "Delayed"
DELAYS_MS = {1: 1_000, 2: 5_000, 3: 10_000, 4: 30_000, -1: 1_700, -2: 4_321, -3: 11_000, -4: 26_500}
"""Of the first levels, as they are by default; and arbitrary ones, under numbers below zero."""

PRECISION_MS = 1_000
"""Of arbitrary ones."""

PAUSE_MS = 6_000
AT_REST_EACH = 3
LATE_MAX_MS = 1_000
READER_TURN_MS = 1_100
"""How long the reader may wait at another queue meanwhile."""

DELIVERED_WITHIN_MS = 120_000


class Delayed:
    """Sends messages with a delay to both brokers, reads where they come out, and keeps the times of both.

    Times are monotonic ms. A wall clock that jumps ahead may bring messages early by as much; one that jumps back may not.
    """

    def __init__(self, cluster: SimulatedCluster, rng: SeededRng, trace: Trace, seed: int, *, sync: bool) -> None:
        self._cluster = cluster
        self._clock = cluster.clock
        self._rng = rng
        self._trace = trace
        self._seed = seed
        self._sync = sync
        self._begun: dict[bytes, tuple[int, int]] = {}
        """When the send of each began, and its delay."""
        self._acknowledged: set[bytes] = set()
        self._arbitrary: set[bytes] = set()
        self._came: Counter[bytes] = Counter()
        self._late_by: dict[bytes, int] = {}
        self._jumps: list[tuple[int, int]] = []
        self._healed = self._stopping = False

    @property
    def count(self) -> int:
        """How many came out."""
        return sum(self._came.values())

    def wall_jumps(self, delta_ms: int) -> None:
        self._jumps.append((self._clock.monotonic_ms(), delta_ms))

    def stop(self) -> None:
        self._stopping = True

    async def send(self) -> None:
        """Until the cluster is healed: one now and then, to one broker or the other."""
        producer = self._cluster.producer("delayed-sender")
        await producer.start()
        try:
            while not self._healed:
                await self._send_one(producer, self._rng.choice(sorted(DELAYS_MS)))
                await self._clock.sleep_ms(self._rng.randrange(PAUSE_MS))
        finally:
            await producer.stop()

    async def read(self) -> None:
        """Until stop(): everything that comes out, on whichever broker."""
        await read_topics(self._cluster, "delayed-reader", [TOPIC], goes_on=lambda: not self._stopping, see=self._see)

    async def check_after_healing(self) -> None:
        """Under SYNC_FLUSH all that were acknowledged come; then a few more, on time and once each."""
        self._healed = True
        await self._all_come(self._acknowledged - self._arbitrary)
        lost_ms = -sum(delta_ms for _, delta_ms in self._jumps if delta_ms < 0)
        if lost_ms:
            # Arbitrary times are times of the wall clock: after a jump back they are that much further away.
            self._clock.jump_wall_ms(lost_ms)
            self.wall_jumps(lost_ms)
        await self._all_come(self._acknowledged)
        before = set(self._begun)
        async with self._cluster.producer("delayed-at-rest") as producer:
            for level in sorted(DELAYS_MS):
                for _ in range(AT_REST_EACH):
                    assert await self._send_one(producer, level), f"C9: a send with delay is refused at rest, seed {self._seed}"
        await self._clock.sleep_ms(2 * max(DELAYS_MS.values()))
        for body in sorted(set(self._begun) - before):
            copies, late_ms = self._came[body], self._late_by.get(body, -1)
            assert copies == 1, f"C9: {body!r} came {copies} times, seed {self._seed}"
            precision_ms = PRECISION_MS if body in self._arbitrary else 0
            assert late_ms <= LATE_MAX_MS + READER_TURN_MS + precision_ms, (
                f"C9: {body!r} came {late_ms} ms after it was due, seed {self._seed}"
            )
        self._trace.add(f"{len(self._acknowledged)} delayed, {self.count} came")

    # -- inside

    async def _all_come(self, wanted: set[bytes]) -> None:
        limit_ms = self._clock.monotonic_ms() + DELIVERED_WITHIN_MS
        while self._sync and (missing := wanted - self._came.keys()):
            assert self._clock.monotonic_ms() < limit_ms, (
                f"C9: {len(missing)} delayed messages never came, the first: {min(missing)!r}, seed {self._seed}"
            )
            await self._clock.sleep_ms(1_000)

    async def _send_one(self, producer: Producer, level: int) -> bool:
        body = b"delayed %d" % len(self._begun)
        message = Message.of(TOPIC, body)
        if level > 0:
            message.delay_time_level = level
        else:
            message.delay_for_ms(DELAYS_MS[level])
            self._arbitrary.add(body)
        self._begun[body] = (self._clock.monotonic_ms(), DELAYS_MS[level])
        try:
            result = await producer.send(message)
        except MQError as error:
            self._trace.add(f"{body.decode()} {type(error).__name__}")
            return False
        self._trace.add(f"{body.decode()} {result.status.value}, level {level}")
        if result.status is not SendStatus.SEND_OK:
            return False
        self._acknowledged.add(body)
        return True

    def _see(self, message: MessageExt) -> None:
        body = message.body
        assert body in self._begun, f"C3: {body!r} was never sent, seed {self._seed}"
        now_ms = self._clock.monotonic_ms()
        begun_ms, delay_ms = self._begun[body]
        ahead_ms = sum(delta_ms for at_ms, delta_ms in self._jumps if at_ms >= begun_ms and delta_ms > 0)
        assert now_ms >= begun_ms + delay_ms - ahead_ms, (
            f"C9: {body!r}, due after {delay_ms} ms, came after {now_ms - begun_ms}, seed {self._seed}"
        )
        self._came[body] += 1
        self._late_by[body] = now_ms - begun_ms - delay_ms
