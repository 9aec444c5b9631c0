"""TransactionProducer over real brokers on virtual time: what it tells them, and what it answers when they ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gantry.client import Message, MessageExt, SendStatus, TransactionProducer, TransactionState
from gantry.errors import BrokerError, ClientError
from gantry.testing.simulated_cluster import SimulatedCluster

COMMIT, ROLLBACK, UNKNOWN = TransactionState.COMMIT, TransactionState.ROLLBACK, TransactionState.UNKNOWN
HALF = "RMQ_SYS_TRANS_HALF_TOPIC"


class Listener:
    """Answers as told; `at_execute` sees the message while it is half."""

    def __init__(self, local: TransactionState | Exception = COMMIT, check: TransactionState | Exception = COMMIT) -> None:
        self.local, self.answer = local, check
        self.executed: list[tuple[bytes, Any]] = []
        self.asked: list[MessageExt] = []
        self.at_execute: Callable[[], Awaitable[None]] | None = None

    async def execute_local_transaction(self, message: Message, argument: Any) -> TransactionState:
        self.executed.append((message.body, argument))
        if self.at_execute is not None:
            await self.at_execute()
        return _given(self.local)

    async def check_local_transaction(self, message: MessageExt) -> TransactionState:
        self.asked.append(message)
        return _given(self.answer)


def _given(state: TransactionState | Exception) -> TransactionState:
    if isinstance(state, Exception):
        raise state
    return state


class World:
    def __init__(self, **settings: str) -> None:
        self.cluster = SimulatedCluster(seed=1, broker_count=1, broker={"prefaultWindowBytes": "0", **settings})
        self.clock = self.cluster.clock

    def run(self, scenario: Callable[[World], Awaitable[None]]) -> Any:
        return self.cluster.run(lambda: scenario(self))

    def producer(self, listener: Listener, **options: Any) -> TransactionProducer:
        return self.cluster.transaction_producer(listener, **options)

    async def make_topic(self) -> None:
        async with self.cluster.producer("maker") as producer:
            await producer.send(Message.of("T", b"first"))

    async def bodies(self) -> list[bytes]:
        async with self.cluster.pull_consumer("reader") as reader:
            reader.assign(await reader.queues("T"))
            await reader.seek_to_beginning()
            found: list[bytes] = []
            while messages := await reader.poll(timeout_ms=100):
                found += [message.body for message in messages if message.body != b"first"]
            return sorted(found)

    @property
    def halves(self) -> int:
        context = self.cluster.brokers[0].controller.context
        return context.transactions.metrics.half_message_count


async def test_the_message_is_half_while_the_local_transaction_is_done() -> None:
    async def scenario(world: World) -> None:
        await world.make_topic()
        listener = Listener()
        during: list[Any] = []

        async def look() -> None:
            during.append((await world.bodies(), world.halves))

        listener.at_execute = look
        async with world.producer(listener) as producer:
            message = Message.of("T", b"order", keys="k")
            result = await producer.send_in_transaction(message, {"order": 7})
        assert during == [([], 1)]
        assert listener.executed == [(b"order", {"order": 7})]
        assert (result.send.status, result.state, result.ended) == (SendStatus.SEND_OK, COMMIT, True)
        assert await world.bodies() == [b"order"]
        assert world.halves == 0
        assert message.properties == {"KEYS": "k", "UNIQ_KEY": result.send.message_id}, "the user's message has no marks"

    await World().run(scenario)


@pytest.mark.parametrize("local", [UNKNOWN, ValueError("on purpose")])
@pytest.mark.parametrize(("check", "seen"), [(COMMIT, [b"order"]), (ROLLBACK, [])])
async def test_an_unknown_end_is_asked_for(local: Any, check: TransactionState, seen: list[bytes]) -> None:
    async def scenario(world: World) -> None:
        await world.make_topic()
        listener = Listener(local, check)
        async with world.producer(listener) as producer:
            result = await producer.send_in_transaction(Message.of("T", b"order"))
            assert (result.state, result.ended) == (UNKNOWN, False)
            assert await world.bodies() == []
            await world.clock.sleep_ms(70_000)
        (asked,) = listener.asked
        assert (asked.topic, asked.body, asked.msg_id) == ("T", b"order", result.send.message_id)
        assert await world.bodies() == seen
        assert world.halves == 0

    await World().run(scenario)


async def test_a_check_that_fails_is_asked_again() -> None:
    async def scenario(world: World) -> None:
        await world.make_topic()
        listener = Listener(UNKNOWN, ValueError("on purpose"))
        async with world.producer(listener) as producer:
            await producer.send_in_transaction(Message.of("T", b"order"))
            await world.clock.sleep_ms(100_000)
            assert len(listener.asked) == 3
            listener.answer = COMMIT
            await world.clock.sleep_ms(40_000)
        assert await world.bodies() == [b"order"]

    await World().run(scenario)


async def test_a_producer_with_topics_answers_before_it_sends() -> None:
    async def scenario(world: World) -> None:
        await world.make_topic()
        async with world.producer(Listener(UNKNOWN)) as producer:
            await producer.send_in_transaction(Message.of("T", b"order"))
        other = Listener()
        async with world.producer(other, topics=["T"]):
            await world.clock.sleep_ms(65_000)
        assert [message.body for message in other.asked] == [b"order"]
        assert await world.bodies() == [b"order"]

    await World().run(scenario)


async def test_the_end_is_asked_for_when_the_broker_restarts_in_between() -> None:
    async def scenario(world: World) -> None:
        await world.make_topic()
        listener = Listener(COMMIT, COMMIT)
        broker = world.cluster.brokers[0]

        async def restart() -> None:
            await world.cluster.crash(broker)

        listener.at_execute = restart
        async with world.producer(listener) as producer:
            result = await producer.send_in_transaction(Message.of("T", b"order"))
            assert (result.state, result.ended) == (COMMIT, False)
            await broker.start()
            await world.clock.sleep_ms(120_000)
        assert [message.body for message in listener.asked] == [b"order"]
        assert await world.bodies() == [b"order"]

    await World().run(scenario)


async def test_nothing_is_done_when_the_half_message_is_refused() -> None:
    async def scenario(world: World) -> None:
        await world.make_topic()
        listener = Listener()
        async with world.producer(listener) as producer:
            with pytest.raises(BrokerError, match="forbidden"):
                await producer.send_in_transaction(Message.of("T", b"order"))
            delayed = Message.of("T", b"order")
            delayed.delay_time_level = 1
            with pytest.raises(ClientError, match="cannot be delayed"):
                await producer.send_in_transaction(delayed)
        assert listener.executed == []

    await World(rejectTransactionMessage="true").run(scenario)


async def test_a_message_stored_less_safely_than_promised_is_rolled_back() -> None:
    async def scenario(world: World) -> None:
        await world.make_topic()
        listener = Listener()
        async with world.producer(listener) as producer:
            result = await producer.send_in_transaction(Message.of("T", b"order"))
        assert (result.send.status, result.state, result.ended) == (SendStatus.SLAVE_NOT_AVAILABLE, ROLLBACK, True)
        assert listener.executed == []
        assert await world.bodies() == []

    await World(brokerRole="SYNC_MASTER").run(scenario)


async def test_ordinary_sends_are_ordinary() -> None:
    async def scenario(world: World) -> None:
        async with world.producer(Listener()) as producer:
            await producer.send(Message.of("T", b"plain"))
        assert await world.bodies() == [b"plain"]
        assert world.halves == 0

    await World().run(scenario)
