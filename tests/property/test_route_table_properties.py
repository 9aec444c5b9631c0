"""The route table under any order of events: what must hold after each of them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gantry.model import DataVersion, QueueData, TopicConfig
from gantry.namesrv import RouteInfoManager
from gantry.namesrv.broker_live import BrokerAddrInfo, BrokerRegistration, BrokerUnregistration

NAMES = st.sampled_from(["a", "b", "c"])
CLUSTERS = st.sampled_from(["C", "D"])
IDS = st.integers(0, 3)
ADDRS = st.sampled_from([f"h:{n}" for n in range(5)])
TOPICS = st.sampled_from(["t1", "t2", "t3", "t4"])
CHANNELS = st.integers(1, 4)

REGISTRATIONS = st.builds(
    BrokerRegistration,
    cluster_name=CLUSTERS,
    broker_addr=ADDRS,
    broker_name=NAMES,
    broker_id=IDS,
    ha_server_addr=st.just("ha:1"),
    data_version=st.builds(DataVersion, st.integers(0, 2), st.just(0), st.integers(0, 3)),
    topics=st.dictionaries(TOPICS, st.builds(TopicConfig, perm=st.integers(0, 7)), max_size=4),
    enable_acting_master=st.sampled_from([None, False, True]),
    heartbeat_timeout_ms=st.sampled_from([None, 10]),
    filter_servers=st.sampled_from([None, [], ["f:1"]]),
    channel_id=CHANNELS,
)

EVENTS = st.lists(
    st.one_of(
        REGISTRATIONS,
        REGISTRATIONS,
        st.lists(st.builds(BrokerUnregistration, CLUSTERS, ADDRS, NAMES, IDS), min_size=1, max_size=3),
        st.tuples(st.just("closed"), CHANNELS),
        st.tuples(st.just("scan"), st.just(0)),
        st.tuples(st.just("delete"), TOPICS),
        st.tuples(st.just("wipe"), NAMES),
        st.tuples(st.just("by hand"), NAMES),
    ),
    max_size=40,
)


class Policy:
    support_acting_master = True

    def __init__(self, notify: bool, delete: bool) -> None:
        self.notify_min_broker_id_changed = notify
        self.delete_topic_with_broker_registration = delete


def check(table: RouteInfoManager) -> None:
    brokers = table.all_brokers()
    for name, data in brokers.items():
        assert data.broker_name == name
        assert data.broker_addrs, "a broker name without addresses"
        assert len(set(data.broker_addrs.values())) == len(data.broker_addrs), "one address under two ids"
        for addr in data.broker_addrs.values():
            versions = [table.query_broker_topic_config(cluster, addr) for cluster in ("C", "D")]
            assert any(versions), f"{addr} could never fall silent"
    in_clusters = {name for names in table.all_clusters().values() for name in names}
    assert in_clusters == brokers.keys()
    for topic in table.all_topics():
        route = table.pickup_topic_route_data(topic)
        assert route is not None, "a listed topic has a route"
        assert {q.broker_name for q in route.queue_datas} == {d.broker_name for d in route.broker_datas} <= brokers.keys()
        assert all(d.broker_addrs for d in route.broker_datas)
    listed, addr = table.system_topics()
    assert set(listed) == {*brokers, *table.all_clusters()}
    assert (addr is None) == (not brokers)
    for cluster in table.all_clusters():
        assert set(table.topics_by_cluster(cluster)) <= set(table.all_topics())


@settings(max_examples=300, deadline=None)
@given(EVENTS, st.booleans(), st.booleans())
def test_the_tables_agree_after_every_event(events: list[object], notify: bool, delete: bool) -> None:
    table = RouteInfoManager(Policy(notify, delete))
    now_ms = 0
    for event in events:
        now_ms += 7
        match event:
            case BrokerRegistration():
                known = set(table.broker_member_group(event.broker_name).values())
                result = table.register_broker(event, now_ms=now_ms)
                after = table.broker_member_group(event.broker_name)
                if not result.accepted:
                    assert set(after.values()) == known
                if result.min_broker_id_change is not None:
                    assert result.min_broker_id_change.min_broker_id == min(after) == event.broker_id
                if after.get(event.broker_id) == event.broker_addr:
                    stored = table.query_broker_topic_config(event.cluster_name, event.broker_addr)
                    assert stored == event.data_version or not result.accepted
            case list():
                for change in table.unregister_brokers(event):
                    left = table.broker_member_group(change.broker_name)
                    assert change.min_broker_id == min(left)
                    assert set(change.notify) == set(left.values())
            case ("closed", int(channel)):
                leaving = table.on_channel_destroy(channel)
                table.unregister_brokers(leaving)
                assert table.on_channel_destroy(channel) == []
            case ("scan", _):
                silent = [expired.unregistration for expired in table.scan_not_active_broker(now_ms=now_ms)]
                table.unregister_brokers(silent)
                assert table.scan_not_active_broker(now_ms=now_ms) == []
            case ("delete", str(topic)):
                table.delete_topic(topic)
                assert table.pickup_topic_route_data(topic) is None
            case ("wipe", str(name)):
                table.wipe_write_perm_of_broker(name)
                for topic in table.all_topics():
                    route = table.pickup_topic_route_data(topic)
                    assert route is not None
                    assert all(not q.perm & 2 for q in route.queue_datas if q.broker_name == name)
            case ("by hand", str(name)):
                assert table.register_topic("hand", [QueueData(name, 1, 1, 6)]) == (name in table.all_brokers())
        check(table)


@settings(max_examples=300, deadline=None)
@given(st.lists(REGISTRATIONS, max_size=12))
def test_nothing_is_left_when_all_have_left(events: list[BrokerRegistration]) -> None:
    table = RouteInfoManager(Policy(False, False))
    for event in events:
        table.register_broker(event, now_ms=0)
    for channel in range(1, 5):
        table.unregister_brokers(table.on_channel_destroy(channel))
    assert table.sizes() == dict.fromkeys(table.sizes(), 0)
    assert table.query_broker_topic_config(*BrokerAddrInfo("C", "h:0")) is None
