"""Real name servers, brokers and clients in one process on a simulated network, disks and clock, under load and faults."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from gantry.client import ConsumeResult, Message, MessageExt, MessageQueue, SendStatus
from gantry.client.consumer_options import ConsumeFromWhere, ConsumerOptions
from gantry.client.results import SEND_STATUS_BY_CODE
from gantry.errors import BrokerError, MQError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.store.fsck import check_store
from gantry.testing.seeded_rng import SeededRng
from gantry.testing.simulated_cluster import SimulatedCluster

from .delayed import Delayed
from .faults import Faults
from .former_logs import FormerLogs
from .ledger import Ledger
from .popping import Popping
from .trace import Trace
from .transactions import SETTINGS as TRANSACTION_SETTINGS
from .transactions import Transactions

TOPIC = "Simulated"
QUEUES = 3
SENDERS = 3
SENDER_PAUSE_MS = 900
LATER_SHARE = 0.02
HEALED_WITHIN_MS = 30_000
CAUGHT_UP_WITHIN_MS = 120_000
STORE = "/store"
SETTINGS = {
    "defaultTopicQueueNums": str(QUEUES),
    "mappedFileSizeCommitLog": str(1 << 18),
    "mappedFileSizeConsumeQueue": str(20 * 200),
    "maxHashSlotNum": "500",
    "maxIndexNum": "2000",
    "prefaultWindowBytes": "0",
}
"""Files so small that log, queues and index roll in every run."""

CODES = {status: int(code) for code, status in SEND_STATUS_BY_CODE.items()}
REFUSED_UNSTORED = frozenset({ResponseCode.SYSTEM_BUSY, ResponseCode.SERVICE_NOT_AVAILABLE, ResponseCode.TOPIC_NOT_EXIST})
"""Answers that say that nothing was stored."""


class Simulation:
    """One run: two name servers, two brokers, three senders, a reader, two push consumers, and one fault after another."""

    def __init__(self, *, seed: int, minutes: float, sync: bool) -> None:
        self.cluster = SimulatedCluster(
            seed=seed,
            name_server_count=2,
            broker_count=2,
            broker={**SETTINGS, **TRANSACTION_SETTINGS, "flushDiskType": "SYNC_FLUSH" if sync else "ASYNC_FLUSH"},
        )
        self.trace = Trace(self.cluster.clock)
        self.ledger = Ledger(seed, TOPIC, sync=sync)
        self._rng = SeededRng(seed).fork("simulation")
        self._delayed = Delayed(self.cluster, self._rng.fork("delayed"), self.trace, seed, sync=sync)
        self._transactions = Transactions(self.cluster, self._rng.fork("transactions"), self.trace, seed, sync=sync)
        self._popping = Popping(self.cluster, self._rng.fork("popping"), self.trace, seed, sync=sync)
        self._logs = FormerLogs(self.trace, seed)
        self._faults = Faults(
            self.cluster, self._rng.fork("faults"), self.trace, self.ledger, self._delayed, self._popping, self._logs
        )
        self._duration_ms = minutes * 60_000
        self._queues: list[MessageQueue] = []
        self._numbers: Counter[tuple[int, MessageQueue]] = Counter()
        self._stopping = False
        self._failure: BaseException | None = None

    def summary(self) -> str:
        faults = ", ".join(f"{count} {name}" for name, count in sorted(self._faults.counts.items()))
        ledger = self.ledger
        return (
            f"{ledger.acknowledged_count} acknowledged, {ledger.unknown_count} unknown, "
            f"{ledger.lost} lost at the end of a queue, {sum(ledger.consumed.values())} consumed, "
            f"{self._delayed.count} came after a delay, {self._transactions.summary}, {self._popping.summary()}, "
            f"{self._logs.compared >> 10} KiB of logs compared; {faults}"
        )

    async def run(self) -> None:
        """Raises: AssertionError with the rule that was broken."""
        await self.cluster.run(self._scenario, limit_ms=self._duration_ms + 3_600_000)

    async def _scenario(self) -> None:
        await self._make_topic()
        tasks = [self._watched(self._send(number)) for number in range(SENDERS)]
        tasks += [self._watched(self._read()), self._watched(self._look())]
        tasks += [self._watched(self._delayed.send()), self._watched(self._delayed.read())]
        tasks += [self._watched(self._transactions.send()), self._watched(self._transactions.read())]
        tasks += [self._watched(work) for work in self._popping.work()]
        options = ConsumerOptions(consume_from_where=ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET)
        consumers = [self.cluster.push_consumer(self._consume, "pushed", options=options) for _ in range(2)]
        for consumer in consumers:
            consumer.subscribe(TOPIC)
            await consumer.start()
        faults = self._watched(self._faults.run())
        await self._wait_ms(self._duration_ms)
        self._faults.stop()
        await faults
        self._raise_failure()
        await self._faults.heal()
        await self._until_sends_work()
        await self._delayed.check_after_healing()
        await self._transactions.check_after_healing()
        await self._popping.check_after_healing()
        self._raise_failure()
        self._stopping = True
        self._delayed.stop()
        self._transactions.stop()
        self._popping.stop()
        await asyncio.gather(*tasks)
        self._raise_failure()
        await self._until_caught_up()
        for consumer in consumers:
            await consumer.stop()
        await self._check_all()

    # -- load

    async def _make_topic(self) -> None:
        """A send to each broker makes it there."""
        async with self.cluster.producer("maker") as producer:
            for broker in self.cluster.brokers:
                for queue_id in range(QUEUES):
                    queue = MessageQueue(TOPIC, broker.name, queue_id)
                    self._queues.append(queue)
                    await self._send_one(producer, 99, queue, may_fail=False)

    async def _send(self, sender: int) -> None:
        rng = self._rng.fork(f"sender {sender}")
        producer = self.cluster.producer(f"sender-{sender}")
        await producer.start()
        try:
            while not self._stopping and self._failure is None:
                await self._send_one(producer, sender, rng.choice(self._queues))
                await self.cluster.clock.sleep_ms(rng.randrange(SENDER_PAUSE_MS))
        finally:
            await producer.stop()

    async def _send_one(self, producer: Any, sender: int, queue: MessageQueue, *, may_fail: bool = True) -> bool:
        number = self._numbers[sender, queue]
        self._numbers[sender, queue] += 1
        body = b"s%d.%s.%d %d" % (sender, queue.broker_name.encode(), queue.queue_id, number)
        history = self.ledger.histories[queue.broker_name]
        history.begin(body)
        try:
            result = await producer.send(Message.of(TOPIC, body), queue=queue)
        except BrokerError as error:
            if not may_fail:
                raise
            if error.response_code in REFUSED_UNSTORED:
                history.end(body, error.response_code, (0, 0))
            self.trace.add(f"{body.decode()} refused with {int(error.response_code)}")
            return False
        except MQError as error:
            if not may_fail:
                raise
            self.trace.add(f"{body.decode()} unknown: {type(error).__name__}")
            return False
        history.end(body, CODES[result.status], (result.queue.queue_id, result.queue_offset))
        self.trace.add(f"{body.decode()} {result.status.value} at {result.queue_offset}")
        return result.status is SendStatus.SEND_OK

    async def _consume(self, messages: list[MessageExt]) -> ConsumeResult:
        if self._rng.random() < LATER_SHARE:
            self.ledger.given_back.update(message.body for message in messages)
            return ConsumeResult.RECONSUME_LATER
        for message in messages:
            self.ledger.consumed[message.body] += 1
        return ConsumeResult.SUCCESS

    async def _read(self) -> None:
        """A reader of every queue in turn; what it saw must stay."""
        clock = self.cluster.clock
        reader = self.cluster.pull_consumer("polled")
        await reader.start()
        try:
            while not self._stopping and self._failure is None:
                try:
                    if not reader.assignment():
                        await reader.queues(TOPIC)
                        reader.assign(self._queues)
                        await reader.seek_to_beginning()
                    for _ in range(len(self._queues)):
                        for message in await reader.poll(timeout_ms=3_000):
                            self.ledger.read(message.broker_name, message.queue_id, message.queue_offset, message.body)
                    await reader.commit()
                    await clock.sleep_ms(500)
                except MQError:
                    await clock.sleep_ms(500)
        finally:
            await reader.stop()

    async def _look(self) -> None:
        """At the offsets of every broker that is up, every second."""
        while not self._stopping and self._failure is None:
            await self.cluster.clock.sleep_ms(1_000)
            for broker in self.cluster.brokers:
                if broker.running:
                    self.ledger.look_at(broker)

    # -- the end

    async def _until_sends_work(self) -> None:
        """C14: after healing, a send to every queue succeeds within half a minute."""
        clock = self.cluster.clock
        limit_ms = clock.monotonic_ms() + HEALED_WITHIN_MS
        async with self.cluster.producer("healed") as producer:
            for queue in self._queues:
                while not await self._send_one(producer, 98, queue):
                    assert clock.monotonic_ms() < limit_ms, f"C14: no send to {queue} works {HEALED_WITHIN_MS} ms after healing"
                    await clock.sleep_ms(500)

    async def _until_caught_up(self) -> None:
        """C14, C1: the push group gets every acknowledged message."""
        clock = self.cluster.clock
        limit_ms = clock.monotonic_ms() + CAUGHT_UP_WITHIN_MS
        while missing := self.ledger.not_consumed():
            assert clock.monotonic_ms() < limit_ms, (
                f"C14: {len(missing)} messages were never consumed, the first: {missing[0]!r}"
            )
            await clock.sleep_ms(1_000)
        self.trace.add(f"caught up, {sum(self.ledger.consumed.values())} deliveries")

    async def _check_all(self) -> None:
        for broker in self.cluster.brokers:
            store = broker.controller.context.store
            for queue_id in range(QUEUES):
                first, bodies = await self._whole_queue(broker.name, queue_id)
                self.ledger.check_queue(broker.name, queue_id, first, bodies)
                self.trace.add(f"{broker.name} queue {queue_id}: {first} to {store.max_offset(TOPIC, queue_id)}")
            await broker.stop()
            faults = check_store(broker.disk, STORE)
            assert not faults, f"C10 {broker.name}: " + "; ".join(faults[:5])

    async def _whole_queue(self, broker_name: str, queue_id: int) -> tuple[int, list[bytes]]:
        async with self.cluster.pull_consumer("drain") as reader:
            queue = MessageQueue(TOPIC, broker_name, queue_id)
            await reader.queues(TOPIC)
            reader.assign([queue])
            await reader.seek_to_beginning()
            first = await reader.position(queue)
            bodies: list[bytes] = []
            while messages := await reader.poll(timeout_ms=100):
                for message in messages:
                    assert message.queue_offset == first + len(bodies), (
                        f"C5: a hole before offset {message.queue_offset} of {queue}"
                    )
                    bodies.append(message.body)
            return first, bodies

    # -- inside

    def _watched(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose failure ends the run."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self._failure = self._failure or error

        return asyncio.get_running_loop().create_task(guarded())

    async def _wait_ms(self, duration_ms: float) -> None:
        end_ms = self.cluster.clock.monotonic_ms() + duration_ms
        while self.cluster.clock.monotonic_ms() < end_ms:
            await self.cluster.clock.sleep_ms(1_000)
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
