"""Tables of connected clients: who is in, who is told, who expires."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gantry.broker.client_manager import ClientChannelInfo, ClientManager
from gantry.model.heartbeat import BROADCASTING, CLUSTERING, ConsumerData, SubscriptionData
from gantry.model.message import MessageQueue
from gantry.testing import VirtualClock
from tests.unit.broker.fake_channel import FakeChannel


@dataclass
class Settings:
    channel_expired_timeout: int = 120_000
    subscription_expired_timeout: int = 600_000
    notify_consumer_ids_changed_enable: bool = True
    rebalance_lock_max_live_time: int = 60_000


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def manager(clock: VirtualClock) -> ClientManager:
    return ClientManager(Settings(), clock)  # type: ignore[arg-type]


def info(channel: FakeChannel, client_id: str, clock: VirtualClock) -> ClientChannelInfo:
    return ClientChannelInfo(
        channel=channel,
        client_id=client_id,
        language="JAVA",
        version=513,
        last_update_monotonic_ms=clock.monotonic_ms(),
        last_update_timestamp=clock.now_ms(),
    )


def consumer(group: str = "g", *topics: str, version: int = 1, model: str = CLUSTERING, sub: str = "*") -> ConsumerData:
    return ConsumerData(
        group_name=group,
        message_model=model,
        subscription_data_set=[SubscriptionData(topic=name, sub_version=version, sub_string=sub) for name in topics or ("T",)],
    )


def join(manager: ClientManager, clock: VirtualClock, client_id: str, data: ConsumerData | None = None) -> FakeChannel:
    channel = FakeChannel()
    change = manager.consumers.register(data or consumer(), info(channel, client_id, clock), notify_enabled=True)
    if change is not None:
        manager.announce([change])
    return channel


def test_every_member_is_told_when_one_joins_the_new_one_included(manager: ClientManager, clock: VirtualClock) -> None:
    first = join(manager, clock, "a")
    second = join(manager, clock, "b")
    assert first.codes() == [40, 40]
    assert second.codes() == [40]
    assert second.sent[0].ext_fields == {"consumerGroup": "g"}
    assert second.sent[0].is_oneway


def test_a_heartbeat_without_news_tells_nobody(manager: ClientManager, clock: VirtualClock) -> None:
    channel = join(manager, clock, "a")
    assert manager.consumers.register(consumer(), info(channel, "a", clock), notify_enabled=True) is None


def test_closed_connection_is_out_at_once_and_the_others_are_told(manager: ClientManager, clock: VirtualClock) -> None:
    first, second = join(manager, clock, "a"), join(manager, clock, "b")
    second.sent.clear()
    first.closed = True
    manager.on_channel_closed(first)
    group = manager.consumers.group_info("g")
    assert group is not None
    assert group.client_ids() == ["b"]
    assert second.codes() == [40]


def test_group_disappears_with_its_last_connection(manager: ClientManager, clock: VirtualClock) -> None:
    channel = join(manager, clock, "a")
    manager.on_channel_closed(channel)
    assert manager.consumers.group_info("g") is None
    assert manager.consumers.find_subscription("g", "T") is None
    assert manager.consumers.groups_listening_to("T") == set()


def test_broadcasting_members_are_not_told_of_each_other(manager: ClientManager, clock: VirtualClock) -> None:
    first = join(manager, clock, "a", consumer(model=BROADCASTING))
    join(manager, clock, "b", consumer(model=BROADCASTING))
    assert first.codes() == []


def test_group_that_wants_no_notices_gets_none(manager: ClientManager, clock: VirtualClock) -> None:
    channel = FakeChannel()
    change = manager.consumers.register(consumer(), info(channel, "a", clock), notify_enabled=False)
    assert change is not None
    manager.announce([change])
    assert channel.codes() == []


def test_reconnected_client_is_listed_once_and_found_on_its_new_connection(manager: ClientManager, clock: VirtualClock) -> None:
    old, new = join(manager, clock, "a"), join(manager, clock, "a")
    group = manager.consumers.group_info("g")
    assert group is not None
    assert group.client_ids() == ["a"]
    found = manager.consumers.find_client("g", "a")
    assert found is not None
    assert found.channel is new
    manager.on_channel_closed(old)
    assert group.client_ids() == ["a"]


def test_topics_follow_the_heartbeat_and_changes_are_announced(manager: ClientManager, clock: VirtualClock) -> None:
    channel = join(manager, clock, "a", consumer("g", "T", "U"))
    change = manager.consumers.register(consumer("g", "U", "V"), info(channel, "a", clock), notify_enabled=True)
    assert change is not None
    group = manager.consumers.group_info("g")
    assert group is not None
    assert set(group.subscriptions) == {"U", "V"}
    assert manager.consumers.groups_listening_to("T") == set()


def test_an_older_expression_does_not_come_back(manager: ClientManager, clock: VirtualClock) -> None:
    channel = join(manager, clock, "a", consumer("g", "T", version=5, sub="A"))
    manager.consumers.register(consumer("g", "T", version=4, sub="B"), info(channel, "a", clock), notify_enabled=True)
    group = manager.consumers.group_info("g")
    assert group is not None
    subscription = group.subscription("T")
    assert subscription is not None
    assert subscription.sub_string == "A"
    manager.consumers.register(consumer("g", "T", version=6, sub="C"), info(channel, "a", clock), notify_enabled=True)
    subscription = group.subscription("T")
    assert subscription is not None
    assert subscription.sub_string == "C"


def test_heartbeat_without_subscriptions_keeps_them(manager: ClientManager, clock: VirtualClock) -> None:
    channel = join(manager, clock, "a", consumer("g", "T"))
    data = ConsumerData(group_name="g")
    manager.consumers.register(data, info(channel, "a", clock), notify_enabled=True, with_subscriptions=False)
    assert manager.consumers.find_subscription("g", "T") is not None


def test_fingerprint_asks_for_subscriptions_when_it_changes_or_when_none_are_known(
    manager: ClientManager, clock: VirtualClock
) -> None:
    join(manager, clock, "a", consumer("g", "T"))
    note = manager.consumers.note_fingerprint
    assert note("g", 7, without_sub=False) is False
    assert note("g", 7, without_sub=True) is False
    assert note("g", 8, without_sub=True) is True
    assert note("unknown", 8, without_sub=True) is True


def test_silent_clients_are_closed_and_announced_whatever_the_wall_clock_does(
    manager: ClientManager, clock: VirtualClock
) -> None:
    silent, speaking = join(manager, clock, "a"), join(manager, clock, "b")
    manager.producers.register("p", info(silent, "a", clock))
    clock.advance_ms(100_000)
    manager.consumers.register(consumer(), info(speaking, "b", clock), notify_enabled=True)
    clock.jump_wall_ms(10 * 3600 * 1000)
    manager.scan()
    assert not silent.closed
    clock.advance_ms(20_001)
    speaking.sent.clear()
    manager.scan()
    assert silent.closed
    assert not speaking.closed
    assert speaking.codes() == [40]
    group = manager.consumers.group_info("g")
    assert group is not None
    assert group.client_ids() == ["b"]
    assert not manager.producers.group_online("p")


async def test_scan_runs_by_itself_until_shutdown(manager: ClientManager, clock: VirtualClock) -> None:
    channel = join(manager, clock, "a")
    await manager.start()
    clock.advance_ms(131_000)
    assert channel.closed
    await manager.shutdown()
    other = join(manager, clock, "b")
    clock.advance_ms(300_000)
    assert not other.closed


def test_a_broken_connection_does_not_keep_the_others_from_being_told(manager: ClientManager, clock: VirtualClock) -> None:
    first, second = join(manager, clock, "a"), join(manager, clock, "b")
    first.closed = True
    first.sent.clear()
    second.sent.clear()
    join(manager, clock, "c")
    assert first.codes() == []
    assert second.codes() == [40]


def test_subscriptions_learned_from_pulls_expire_when_unused(manager: ClientManager, clock: VirtualClock) -> None:
    manager.consumers.compensate_subscription("g", "T", SubscriptionData(topic="T"))
    clock.advance_ms(600_000)
    manager.scan()
    assert manager.consumers.find_subscription("g", "T") is not None
    clock.advance_ms(1)
    manager.scan()
    assert manager.consumers.find_subscription("g", "T") is None


def test_producer_is_found_by_client_id_until_its_connection_ends(manager: ClientManager, clock: VirtualClock) -> None:
    old, new = FakeChannel(), FakeChannel()
    manager.producers.register("p", info(old, "a", clock))
    assert manager.producers.find_channel("a") is old
    manager.producers.register("p", info(new, "a", clock))
    assert manager.producers.find_channel("a") is new
    manager.on_channel_closed(old)
    assert manager.producers.find_channel("a") is new
    manager.producers.unregister("p", new)
    assert manager.producers.find_channel("a") is None
    assert manager.producers.channels_of("p") is None


def test_available_channels_take_turns_and_avoid_slow_ones(manager: ClientManager, clock: VirtualClock) -> None:
    channels = [FakeChannel() for _ in range(3)]
    for number, channel in enumerate(channels):
        manager.producers.register("p", info(channel, f"c{number}", clock))
    chosen = [manager.producers.available_channel("p") for _ in range(3)]
    assert {channel.id for channel in chosen if channel is not None} == {channel.id for channel in channels}
    channels[0].write_paused = channels[1].write_paused = True
    assert manager.producers.available_channel("p") is channels[2]
    channels[2].closed = True
    assert manager.producers.available_channel("p") in channels[:2]
    assert manager.producers.available_channel("nobody") is None


class TestRebalanceLocks:
    queues = [MessageQueue("T", "b", number) for number in range(3)]

    def test_a_queue_has_one_owner_until_its_lease_ends(self, manager: ClientManager, clock: VirtualClock) -> None:
        locks = manager.locks
        assert locks.try_lock_batch("g", self.queues, "a") == self.queues
        assert locks.try_lock_batch("g", self.queues, "b") == []
        clock.advance_ms(60_000)
        assert locks.try_lock_batch("g", self.queues[:1], "b") == []
        clock.advance_ms(1)
        assert locks.try_lock_batch("g", self.queues[:1], "b") == self.queues[:1]
        assert locks.try_lock_batch("g", self.queues, "a") == self.queues[1:]

    def test_asking_again_renews(self, manager: ClientManager, clock: VirtualClock) -> None:
        locks = manager.locks
        for _ in range(10):
            locks.try_lock_batch("g", self.queues, "a")
            clock.advance_ms(20_000)
        assert locks.try_lock_batch("g", self.queues, "b") == []

    def test_only_the_owner_unlocks(self, manager: ClientManager, clock: VirtualClock) -> None:
        locks = manager.locks
        locks.try_lock_batch("g", self.queues, "a")
        locks.unlock_batch("g", self.queues, "b")
        assert locks.try_lock_batch("g", self.queues, "b") == []
        locks.unlock_batch("g", self.queues[:2], "a")
        assert locks.try_lock_batch("g", self.queues, "b") == self.queues[:2]

    def test_groups_do_not_see_each_others_locks(self, manager: ClientManager, clock: VirtualClock) -> None:
        manager.locks.try_lock_batch("g", self.queues, "a")
        assert manager.locks.try_lock_batch("h", self.queues, "b") == self.queues

    def test_expired_locks_count_as_none_and_are_dropped(self, manager: ClientManager, clock: VirtualClock) -> None:
        locks = manager.locks
        assert locks.is_lock_all_expired("g")
        locks.try_lock_batch("g", self.queues, "a")
        assert not locks.is_lock_all_expired("g")
        clock.advance_ms(60_001)
        assert locks.is_lock_all_expired("g")
        assert locks.scan_expired() == 3
        assert locks.scan_expired() == 0

    def test_a_wall_clock_jump_frees_no_lock(self, manager: ClientManager, clock: VirtualClock) -> None:
        manager.locks.try_lock_batch("g", self.queues, "a")
        clock.jump_wall_ms(3600 * 1000)
        assert manager.locks.try_lock_batch("g", self.queues, "b") == []
