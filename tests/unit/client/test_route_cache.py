from __future__ import annotations

from gantry.client import by_key
from gantry.client.publish_info import PublishInfo, readable_queues, writable_queues
from gantry.client.route_cache import RouteCache
from gantry.model import BrokerData, Message, MessageQueue, QueueData, TopicRouteData


def route(*brokers: str, queues: int = 2, perm: int = 6, ids: tuple[int, ...] = (0,)) -> TopicRouteData:
    return TopicRouteData(
        queue_datas=[QueueData(name, queues, queues, perm, 0) for name in brokers],
        broker_datas=[BrokerData("c", name, {i: f"{name}:{10911 + i}" for i in ids}) for name in brokers],
    )


def test_update_tells_whether_anything_changed() -> None:
    cache = RouteCache()
    assert cache.update("T", route("a", "b"))
    assert not cache.update("T", route("b", "a")), "the order of the lists is no change"
    assert cache.update("T", route("a"))
    assert cache.broker_names() == ["a"]


def test_broker_stays_while_any_topic_mentions_it() -> None:
    cache = RouteCache()
    cache.update("T", route("a", "b"))
    cache.update("U", route("b"))
    cache.remove("T")
    assert cache.broker_names() == ["b"]
    assert cache.master_address("b") == "b:10911"
    assert cache.master_address("a") is None


def test_reading_goes_on_from_a_slave_when_the_master_is_gone() -> None:
    cache = RouteCache()
    cache.update("T", route("a", ids=(1, 2)))
    assert cache.address("a", 0) == "a:10912"
    assert cache.publish_info("T") is None
    assert cache.subscribe_queues("T") == [MessageQueue("T", "a", 0), MessageQueue("T", "a", 1)]


def test_permissions_decide_what_may_be_written_and_read() -> None:
    assert writable_queues("T", route("a", perm=4)) == []
    assert len(readable_queues("T", route("a", perm=4))) == 2
    assert len(writable_queues("T", route("a", perm=2))) == 2
    assert readable_queues("T", route("a", perm=2)) == []


def test_order_topic_configuration_fixes_the_queues() -> None:
    data = route("a", "b", queues=8)
    data.order_topic_conf = "b:1;a:2"
    expected = [MessageQueue("T", "a", 0), MessageQueue("T", "a", 1), MessageQueue("T", "b", 0)]
    assert writable_queues("T", data) == expected
    assert readable_queues("T", data) == expected


def test_queues_take_turns_and_failed_brokers_are_passed_over() -> None:
    info = PublishInfo(writable_queues("T", route("a", "b")))
    assert [info.choose() for _ in range(5)] == [*info.queues, info.queues[0]]
    assert {info.choose(frozenset({"a"})).broker_name for _ in range(4)} == {"b"}
    assert info.choose(frozenset({"a", "b"})) in info.queues, "when all have failed any of them is tried again"


def test_equal_keys_go_to_the_queue_the_official_client_picks() -> None:
    queues = writable_queues("T", route("a", "b", queues=4))
    message = Message(topic="T", body=b"x")
    # Java: "order-1".hashCode() == -1207111310, Math.abs of it % 8 == 6.
    assert by_key("order-1")(queues, message) == queues[6]
    assert by_key("a")(queues, message) == queues[97 % 8]
