"""The route table: who is in it, who leaves it, and what clients are told."""

from __future__ import annotations

import pytest

from gantry.model import DataVersion, QueueData, TopicRouteData
from gantry.model.topic_validator import SYNC_BROKER_MEMBER_PREFIX
from gantry.namesrv import RouteInfoManager
from gantry.namesrv.broker_live import BrokerRegistration, RegisterBrokerResult
from tests.unit.namesrv.rig import Policy, registration, topics, unregistration


class Table(RouteInfoManager):
    """A route table with a policy of its own to change and a time that stands still."""

    def __init__(self) -> None:
        self.policy = Policy()
        super().__init__(self.policy)

    def take(self, one: BrokerRegistration, now_ms: int = 0) -> RegisterBrokerResult:
        return self.register_broker(one, now_ms=now_ms)

    def route(self, topic: str = "orders") -> TopicRouteData:
        route = self.pickup_topic_route_data(topic)
        assert route is not None
        return route

    def addrs(self, name: str = "broker-a") -> dict[int, str]:
        return self.broker_member_group(name)

    def perm(self, topic: str = "orders", name: str = "broker-a") -> int:
        return next(q.perm for q in self.route(topic).queue_datas if q.broker_name == name)


@pytest.fixture
def table() -> Table:
    return Table()


# -- registration ----------------------------------------------------------------------------------------------------


def test_a_registered_broker_is_in_the_route_of_its_topics(table: Table) -> None:
    assert table.take(registration()) == RegisterBrokerResult()
    route = table.route()
    assert route.queue_datas == [QueueData("broker-a", 4, 4, 6, 0)]
    assert [(d.cluster, d.broker_name, d.broker_addrs) for d in route.broker_datas] == [
        ("C", "broker-a", {0: "broker-a-0:10911"})
    ]
    assert table.pickup_topic_route_data("nothing") is None
    assert table.all_clusters() == {"C": ["broker-a"]}


def test_a_single_topic_before_the_full_list_is_refused_and_leaves_no_trace(table: Table) -> None:
    assert not table.take(registration(table=topics("orders"))).accepted
    assert table.sizes() == dict.fromkeys(table.sizes(), 0)


def test_a_single_topic_after_the_full_list_is_an_increment(table: Table) -> None:
    table.take(registration())
    assert table.take(registration(table=topics("new"), version=DataVersion(0, 1_000, 2))).accepted
    assert sorted(table.all_topics()) == ["new", "orders", "payments"]


def test_a_broker_without_topics_registers(table: Table) -> None:
    assert table.take(registration(table={})).accepted
    assert table.addrs() == {0: "broker-a-0:10911"}


def test_topics_follow_the_data_version(table: Table) -> None:
    table.take(registration())
    table.take(registration(table=topics("orders", "payments", queues=9)))
    assert table.route().queue_datas[0].write_queue_nums == 4, "the version says nothing changed"
    table.take(registration(table=topics("orders", "payments", queues=9), version=DataVersion(0, 1_000, 2)))
    assert table.route().queue_datas[0].write_queue_nums == 9


def test_topics_a_broker_no_longer_sends_stay_unless_the_policy_drops_them(table: Table) -> None:
    table.take(registration())
    table.take(registration(table=topics("orders", "new"), version=DataVersion(0, 1_000, 2)))
    assert sorted(table.all_topics()) == ["new", "orders", "payments"]
    table.policy.delete_topic_with_broker_registration = True
    table.take(registration(table=topics("orders", "new"), version=DataVersion(0, 1_000, 2)))
    assert sorted(table.all_topics()) == ["new", "orders"]


def test_dropping_topics_spares_other_brokers_and_static_topics(table: Table) -> None:
    table.policy.delete_topic_with_broker_registration = True
    table.take(registration())
    table.take(registration("broker-b"))
    table.take(registration(table=topics("x", "y"), topic_queue_mapping_infos={"x": {"bname": "broker-a"}}))
    assert {q.broker_name for q in table.route("payments").queue_datas} == {"broker-a", "broker-b"}
    table.take(registration(table=topics("x", "y")))
    assert {q.broker_name for q in table.route("payments").queue_datas} == {"broker-b"}


def test_slaves_publish_no_topics_unless_they_know_acting_masters(table: Table) -> None:
    table.take(registration(broker_id=1, acting=None))
    assert table.pickup_topic_route_data("orders") is None
    table.take(registration(broker_id=1, acting=False))
    assert table.perm() == 6, "without acting master the slave's topics keep their permission"


def test_the_smallest_slave_with_acting_master_publishes_read_only(table: Table) -> None:
    table.take(registration(broker_id=2, acting=True))
    assert table.perm() == 4
    table.take(registration(broker_id=3, acting=True, table=topics("late", "later")))
    assert table.pickup_topic_route_data("late") is None, "only the smallest id publishes"


def test_a_slave_learns_its_live_master(table: Table) -> None:
    assert table.take(registration(broker_id=1)).master_addr is None
    assert table.take(registration()) == RegisterBrokerResult()
    assert table.take(registration(broker_id=1)) == RegisterBrokerResult(
        ha_server_addr="ha-of-broker-a-0:1", master_addr="broker-a-0:10911"
    )


def test_one_address_has_one_id_when_a_slave_becomes_master(table: Table) -> None:
    table.take(registration(broker_id=1, addr="x:1"))
    table.take(registration(broker_id=0, addr="x:1"))
    assert table.addrs() == {0: "x:1"}


def test_an_id_moves_to_a_new_address_when_the_epoch_is_not_older(table: Table) -> None:
    table.take(registration(addr="old:1", version=DataVersion(2, 0, 0)))
    table.take(registration(addr="new:1", version=DataVersion(2, 0, 0)))
    assert table.addrs() == {0: "new:1"}
    table.unregister_brokers([unregistration(addr="old:1")])
    assert table.addrs() == {0: "new:1"}, "the old process leaves, the id is the new one's"


def test_a_broker_under_a_new_name_takes_its_address_along(table: Table) -> None:
    table.take(registration("old-name", addr="x:1", channel_id=1))
    assert not table.take(registration("new-name", addr="x:1", table=topics("t"))).accepted
    assert table.addrs("old-name") == {0: "x:1"}, "a refused registration changes nothing"
    table.take(registration("new-name", addr="x:1", channel_id=2))
    assert table.all_clusters() == {"C": ["new-name"]}
    assert [q.broker_name for q in table.route().queue_datas] == ["new-name"]


def test_unregistration_under_a_wrong_name_does_not_hide_a_broker_from_its_time_out(table: Table) -> None:
    table.take(registration("broker-a", addr="x:1"))
    table.take(registration("broker-b"))
    table.unregister_brokers([unregistration("broker-b", addr="x:1")])
    assert [e.unregistration.broker_name for e in table.scan_not_active_broker(now_ms=10**9)] == ["broker-a", "broker-b"]


def test_a_newcomer_of_an_older_epoch_is_ignored(table: Table) -> None:
    table.take(registration(addr="new:1", version=DataVersion(2, 0, 0), channel_id=1))
    result = table.take(registration(addr="old:1", version=DataVersion(1, 0, 9), table=topics("a", "b"), channel_id=2))
    assert result == RegisterBrokerResult()
    assert table.addrs() == {0: "new:1"}
    assert table.pickup_topic_route_data("a") is None
    assert table.on_channel_destroy(2) == []


def test_zone_and_acting_master_flag_follow_the_last_registration(table: Table) -> None:
    table.take(registration(zone_name="z1", acting=True))
    assert (table.route().broker_datas[0].zone_name, table.route().broker_datas[0].enable_acting_master) == ("z1", True)
    table.take(registration(acting=None))
    assert (table.route().broker_datas[0].zone_name, table.route().broker_datas[0].enable_acting_master) == (None, False)


def test_filter_servers_are_listed_by_address_until_taken_back(table: Table) -> None:
    table.take(registration(filter_servers=["f:1"]))
    table.take(registration(filter_servers=None))
    assert table.route().filter_server_table == {"broker-a-0:10911": ["f:1"]}
    table.take(registration(filter_servers=[]))
    assert table.route().filter_server_table == {}


def test_static_topic_mappings_are_handed_out_and_go_with_the_topic(table: Table) -> None:
    info = {"bname": "broker-a", "topic": "orders", "currIdMap": {0: 0}}
    table.take(registration(topic_queue_mapping_infos={"orders": info}))
    assert table.route().topic_queue_mapping_by_broker == {"broker-a": info}
    table.delete_topic("orders")
    table.take(registration(version=DataVersion(0, 1_000, 2)))
    assert table.route().topic_queue_mapping_by_broker is None


# -- leaving ---------------------------------------------------------------------------------------------------------


def test_the_last_address_takes_name_cluster_and_topics_along(table: Table) -> None:
    table.take(registration())
    table.take(registration("broker-b", cluster="D", table=topics("orders", "other")))
    table.unregister_brokers([unregistration()])
    assert table.all_clusters() == {"D": ["broker-b"]}
    assert sorted(table.all_topics()) == ["orders", "other"]
    assert [q.broker_name for q in table.route().queue_datas] == ["broker-b"]


def test_a_dead_master_leaves_its_slaves_and_queues(table: Table) -> None:
    table.take(registration())
    table.take(registration(broker_id=1))
    table.unregister_brokers([unregistration()])
    assert table.addrs() == {1: "broker-a-1:10911"}
    assert table.perm() == 6, "without acting master the permission stays"


def test_a_dead_master_with_acting_master_leaves_read_only_queues(table: Table) -> None:
    table.take(registration(acting=True))
    table.take(registration(broker_id=1, acting=True))
    table.unregister_brokers([unregistration()])
    assert table.perm() == 4
    table.take(registration(acting=True))
    assert table.perm() == 6, "the master is back"


def test_a_dead_slave_changes_no_permission(table: Table) -> None:
    table.take(registration(acting=True))
    table.take(registration(broker_id=1, acting=True))
    table.unregister_brokers([unregistration(broker_id=1)])
    assert table.perm() == 6


def test_a_batch_that_takes_master_and_slave_removes_the_name(table: Table) -> None:
    table.take(registration(acting=True))
    table.take(registration(broker_id=1, acting=True))
    table.unregister_brokers([unregistration(), unregistration(broker_id=1)])
    assert table.sizes() == dict.fromkeys(table.sizes(), 0)


def test_unknown_brokers_may_leave(table: Table) -> None:
    table.take(registration())
    table.unregister_brokers([unregistration("nobody"), unregistration(addr="elsewhere:1")])
    assert table.addrs() == {0: "broker-a-0:10911"}


def test_a_closed_connection_takes_all_its_brokers_and_no_others(table: Table) -> None:
    table.take(registration(channel_id=7))
    table.take(registration("broker-b", channel_id=7))
    table.take(registration("broker-c", channel_id=8))
    leaving = table.on_channel_destroy(7)
    assert [one.broker_name for one in leaving] == ["broker-a", "broker-b"]
    table.unregister_brokers(leaving)
    assert table.all_clusters() == {"C": ["broker-c"]}


def test_an_old_connection_does_not_take_a_broker_that_came_back(table: Table) -> None:
    table.take(registration(channel_id=7))
    table.take(registration(channel_id=8))
    assert table.on_channel_destroy(7) == []


def test_a_name_in_two_clusters_leaves_both(table: Table) -> None:
    table.take(registration(channel_id=7))
    table.take(registration(cluster="D", addr="broker-a-0:10911", channel_id=7))
    table.unregister_brokers(table.on_channel_destroy(7))
    assert table.sizes() == dict.fromkeys(table.sizes(), 0)


def test_silence_is_measured_by_each_brokers_own_timeout(table: Table) -> None:
    table.take(registration(channel_id=1), now_ms=1_000)
    table.take(registration("broker-b", heartbeat_timeout_ms=10_000, channel_id=2), now_ms=1_000)
    table.take(registration("broker-c", heartbeat_timeout_ms=0, channel_id=3), now_ms=1_000)

    def silent(now_ms: int) -> list[str]:
        return [e.unregistration.broker_name for e in table.scan_not_active_broker(now_ms=now_ms)]

    assert silent(11_000) == []
    assert silent(11_001) == ["broker-b"]
    assert silent(121_000) == ["broker-b"]
    assert silent(121_001) == ["broker-a", "broker-b", "broker-c"]
    table.update_broker_info_update_timestamp("C", "broker-a-0:10911", now_ms=100_000)
    assert silent(121_001) == ["broker-b", "broker-c"]
    assert table.scan_not_active_broker(now_ms=11_001)[0].channel_id == 2


def test_a_sign_of_life_of_a_stranger_is_nothing(table: Table) -> None:
    table.update_broker_info_update_timestamp("C", "x:1", now_ms=1)
    assert table.scan_not_active_broker(now_ms=10**9) == []


# -- notices of the smallest id ----------------------------------------------------------------------------------------


def test_a_new_smallest_id_is_told_to_the_others(table: Table) -> None:
    table.policy.notify_min_broker_id_changed = True
    table.take(registration(broker_id=2))
    table.take(registration(broker_id=3))
    change = table.take(registration(broker_id=1)).min_broker_id_change
    assert change is not None
    assert (change.min_broker_id, change.min_broker_addr) == (1, "broker-a-1:10911")
    assert change.offline_broker_addr is None
    assert change.ha_broker_addr == "ha-of-broker-a-1:1"
    assert change.notify == ("broker-a-2:10911", "broker-a-3:10911")
    assert table.take(registration(broker_id=1)).min_broker_id_change is None


def test_a_lost_smallest_id_is_told_to_those_left_when_they_know_acting_masters(table: Table) -> None:
    table.policy.notify_min_broker_id_changed = True
    for acting, expected in ((False, []), (True, ["broker-a-1:10911", "broker-a-2:10911"])):
        for broker_id in (0, 1, 2):
            table.take(registration(broker_id=broker_id, acting=acting))
        changes = table.unregister_brokers([unregistration()])
        assert [addr for change in changes for addr in change.notify] == expected
        for change in changes:
            assert (change.min_broker_id, change.offline_broker_addr) == (1, "broker-a-0:10911")


def test_nobody_is_told_without_the_policy_or_without_a_change(table: Table) -> None:
    for broker_id in (0, 1, 2):
        assert table.take(registration(broker_id=broker_id, acting=True)).min_broker_id_change is None
    assert table.unregister_brokers([unregistration()]) == []
    table.policy.notify_min_broker_id_changed = True
    assert table.unregister_brokers([unregistration(broker_id=2)]) == []
    assert table.unregister_brokers([unregistration(addr="gone:1")]) == []


# -- versions --------------------------------------------------------------------------------------------------------


def test_data_versions_are_compared_as_a_whole(table: Table) -> None:
    version = DataVersion(1, 2, 3)
    assert table.is_broker_topic_config_changed("C", "broker-a-0:10911", version)
    table.take(registration(version=version))
    assert not table.is_broker_topic_config_changed("C", "broker-a-0:10911", DataVersion(1, 2, 3))
    for other in (DataVersion(0, 2, 3), DataVersion(1, 0, 3), DataVersion(1, 2, 0)):
        assert table.is_broker_topic_config_changed("C", "broker-a-0:10911", other)
    version.counter = 9
    assert table.query_broker_topic_config("C", "broker-a-0:10911") == DataVersion(1, 2, 3), "a copy is kept"


# -- permissions and topics --------------------------------------------------------------------------------------------


def test_wiped_permissions_outlive_registrations_until_the_version_changes(table: Table) -> None:
    table.take(registration())
    table.take(registration("broker-b"))
    assert table.wipe_write_perm_of_broker("broker-a") == 2
    assert (table.perm(), table.perm(name="broker-b")) == (4, 6)
    table.take(registration())
    assert table.perm() == 4
    table.take(registration(version=DataVersion(0, 1_000, 2)))
    assert table.perm() == 6
    assert table.wipe_write_perm_of_broker("nobody") == 0


def test_added_permission_is_read_and_write_for_all_topics(table: Table) -> None:
    table.take(registration(table={**topics("orders", perm=4), **topics("TBW102", perm=7)}))
    assert table.add_write_perm_of_broker("broker-a") == 2
    assert (table.perm(), table.perm("TBW102")) == (6, 6)


def test_topics_are_deleted_everywhere_or_in_one_cluster(table: Table) -> None:
    table.take(registration())
    table.take(registration("broker-b", cluster="D"))
    table.delete_topic("orders", "nowhere")
    table.delete_topic("orders", "C")
    assert [q.broker_name for q in table.route().queue_datas] == ["broker-b"]
    table.delete_topic("orders", "D")
    assert table.pickup_topic_route_data("orders") is None
    table.delete_topic("payments")
    table.delete_topic("payments")
    assert table.all_topics() == []


def test_queues_are_registered_by_hand_only_on_known_brokers(table: Table) -> None:
    table.take(registration())
    assert not table.register_topic("hand", [QueueData("broker-a", 1, 1, 6), QueueData("ghost", 1, 1, 6)])
    assert table.pickup_topic_route_data("hand") is None
    mine = QueueData("broker-a", 1, 2, 6)
    assert table.register_topic("hand", [mine])
    mine.perm = 0
    assert table.route("hand").queue_datas == [QueueData("broker-a", 1, 2, 6)]
    assert table.register_topic("empty", [])
    assert table.pickup_topic_route_data("empty") is None


# -- answers -----------------------------------------------------------------------------------------------------------


def test_routes_are_sorted_copies(table: Table) -> None:
    table.take(registration("broker-b"))
    table.take(registration("broker-a", broker_id=1))
    table.take(registration("broker-a"))
    route = table.route()
    assert [q.broker_name for q in route.queue_datas] == ["broker-a", "broker-b"]
    assert list(route.broker_datas[0].broker_addrs) == [0, 1]
    route.broker_datas[0].broker_addrs.clear()
    route.queue_datas[0].perm = 0
    assert (table.perm(), len(table.addrs())) == (6, 2)


def test_acting_master_is_shown_only_where_it_serves(table: Table) -> None:
    table.take(registration(acting=True))
    table.take(registration(broker_id=1, acting=True))
    table.take(registration(broker_id=2, acting=True))
    table.unregister_brokers([unregistration()])
    assert table.route().broker_datas[0].broker_addrs == {1: "broker-a-1:10911", 2: "broker-a-2:10911"}
    table.policy.support_acting_master = True
    assert table.route().broker_datas[0].broker_addrs == {0: "broker-a-1:10911", 2: "broker-a-2:10911"}
    assert table.addrs() == {1: "broker-a-1:10911", 2: "broker-a-2:10911"}, "only the answer changes"
    table.add_write_perm_of_broker("broker-a")
    assert 0 not in table.route().broker_datas[0].broker_addrs, "writable queues: the master is expected back"


def test_acting_master_is_not_shown_to_the_brokers_own_topic(table: Table) -> None:
    table.policy.support_acting_master = True
    topic = SYNC_BROKER_MEMBER_PREFIX + "broker-a"
    table.take(registration(acting=True, table=topics(topic, "orders")))
    table.take(registration(broker_id=1, acting=True))
    table.unregister_brokers([unregistration()])
    assert list(table.route(topic).broker_datas[0].broker_addrs) == [1]
    assert list(table.route().broker_datas[0].broker_addrs) == [0]


def test_acting_master_needs_the_brokers_consent(table: Table) -> None:
    table.policy.support_acting_master = True
    table.take(registration())
    table.take(registration(broker_id=1))
    table.unregister_brokers([unregistration()])
    table.wipe_write_perm_of_broker("broker-a")
    assert list(table.route().broker_datas[0].broker_addrs) == [1]


def test_topic_lists(table: Table) -> None:
    table.take(registration(table={**topics("u", topic_sys_flag=1), **topics("s", topic_sys_flag=2)}))
    table.take(registration("broker-b", cluster="D", table={**topics("us", topic_sys_flag=3), **topics("s", "plain")}))
    assert sorted(table.all_topics()) == ["plain", "s", "u", "us"]
    assert sorted(table.topics_by_cluster("C")) == ["s", "u"]
    assert table.topics_by_cluster("nowhere") == []
    assert table.unit_topics() == ["u", "us"]
    assert table.has_unit_sub_topics() == ["s", "us"]
    assert table.has_unit_sub_ununit_topics() == ["s"]
    assert table.system_topics() == (["C", "broker-a", "D", "broker-b"], "broker-a-0:10911")


def test_an_empty_table_answers_empty_lists(table: Table) -> None:
    assert table.system_topics() == ([], None)
    assert table.all_topics() == table.unit_topics() == []
    assert table.addrs() == {}
