"""The route table: which brokers live, and which of them hold which topics.

Pure: no socket, no clock, no thread. Every call gets what it needs (the time included) and returns what is to be done.
Name servers never talk to each other, so nothing here is shared, and nothing outlives the process.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from gantry.model import BrokerData, DataVersion, QueueData, TopicConfig, TopicRouteData, perm_name, sys_flag
from gantry.model.names import MASTER_ID
from gantry.model.topic_validator import SYNC_BROKER_MEMBER_PREFIX

from .broker_live import (
    DEFAULT_HEARTBEAT_TIMEOUT_MS,
    BrokerAddrInfo,
    BrokerLiveInfo,
    BrokerRegistration,
    BrokerUnregistration,
    ExpiredBroker,
    MinBrokerIdChange,
    RegisterBrokerResult,
)

log = logging.getLogger(__name__)


class RoutePolicy(Protocol):
    """The settings the route table reads; they may change while it runs."""

    @property
    def support_acting_master(self) -> bool: ...
    @property
    def notify_min_broker_id_changed(self) -> bool: ...
    @property
    def delete_topic_with_broker_registration(self) -> bool: ...


class RouteInfoManager:
    """Six tables and the rules that keep them consistent.

    topic_queue_table     topic -> broker name -> QueueData
    broker_addr_table     broker name -> BrokerData (id -> address)
    cluster_addr_table    cluster -> broker names
    broker_live_table     (cluster, address) -> BrokerLiveInfo
    filter_server_table   (cluster, address) -> filter servers
    topic_mapping_table   topic -> broker name -> mapping of a static topic

    What holds after each call: a broker name is in broker_addr_table exactly when it has an address; a topic is in
    topic_queue_table only with at least one broker. One caller at a time.
    Source: RouteInfoManager (5.5).
    """

    def __init__(self, policy: RoutePolicy) -> None:
        self._policy = policy
        self._topic_queue_table: dict[str, dict[str, QueueData]] = {}
        self._broker_addr_table: dict[str, BrokerData] = {}
        self._cluster_addr_table: dict[str, set[str]] = {}
        self._broker_live_table: dict[BrokerAddrInfo, BrokerLiveInfo] = {}
        self._filter_server_table: dict[BrokerAddrInfo, list[str]] = {}
        self._topic_mapping_table: dict[str, dict[str, dict[str, Any]]] = {}

    # -- registration ------------------------------------------------------------------------------------------------

    def register_broker(self, registration: BrokerRegistration, *, now_ms: int) -> RegisterBrokerResult:
        """Takes a broker and its topics in, or refreshes them.

        Topics come from the master only, or, with acting masters, from the slave with the smallest id (then without
        write permission). Topics that a broker no longer sends stay, unless the policy says otherwise.
        """
        name, broker_id, addr = registration.broker_name, registration.broker_id, registration.broker_addr
        data = self._broker_addr_table.get(name)
        if (data is None or broker_id not in data.broker_addrs) and len(registration.topics) == 1:
            # A single topic is an increment; without the full table before it the route would be a torso.
            log.warning("broker %s id %d at %s sent one topic before registering in full", name, broker_id, addr)
            return RegisterBrokerResult(accepted=False)

        self._address_changed_hands(registration)
        known = {} if data is None else data.broker_addrs
        smallest_before = min(known, default=MASTER_ID)
        # One address has one id: a slave that became master arrives with its old address and a new id.
        for other_id in [i for i, other in known.items() if other == addr and i != broker_id]:
            del known[other_id]

        if self._loses_conflict(registration, known.get(broker_id)):
            self._broker_live_table.pop(registration.addr_info, None)
            return RegisterBrokerResult()

        self._cluster_addr_table.setdefault(registration.cluster_name, set()).add(name)
        if data is None:
            data = self._broker_addr_table[name] = BrokerData(registration.cluster_name, name)
        data.enable_acting_master = bool(registration.enable_acting_master)
        data.zone_name = registration.zone_name
        first = not data.broker_addrs.get(broker_id)
        data.broker_addrs[broker_id] = addr

        is_master = broker_id == MASTER_ID
        knows_acting_master = registration.enable_acting_master is not None
        is_prime_slave = knows_acting_master and not is_master and broker_id == min(data.broker_addrs)
        if is_master or is_prime_slave:
            self._take_topics(registration, first=first, read_only=is_prime_slave and data.enable_acting_master)

        self._note_alive(registration, now_ms)
        if registration.filter_servers is not None:
            if registration.filter_servers:
                self._filter_server_table[registration.addr_info] = list(registration.filter_servers)
            else:
                self._filter_server_table.pop(registration.addr_info, None)

        change = None
        if broker_id < smallest_before and self._policy.notify_min_broker_id_changed:
            change = _min_id_change(data, offline=None, ha_addr=registration.ha_server_addr)
        master_addr, ha_addr = (None, None) if is_master else self._live_master_of(registration.cluster_name, data)
        return RegisterBrokerResult(ha_server_addr=ha_addr, master_addr=master_addr, min_broker_id_change=change)

    def _address_changed_hands(self, registration: BrokerRegistration) -> None:
        """Takes out who was at this address under another name: its entry is about to be overwritten, and without one it
        could neither fall silent nor close its connection, and would stay in the routes for ever."""
        held = self._broker_live_table.get(registration.addr_info)
        if held is not None and held.broker_name != registration.broker_name:
            cluster_name, addr = registration.addr_info
            self.unregister_brokers([BrokerUnregistration(cluster_name, addr, held.broker_name, held.broker_id)])

    def _loses_conflict(self, registration: BrokerRegistration, holder_addr: str | None) -> bool:
        """Whether another address holds this id under a later controller epoch: then the newcomer is ignored."""
        if holder_addr is None or holder_addr == registration.broker_addr:
            return False
        holder = self._broker_live_table.get(BrokerAddrInfo(registration.cluster_name, holder_addr))
        if holder is None or holder.data_version.state_version <= registration.data_version.state_version:
            return False
        log.warning(
            "registration ignored: cluster %s, broker %s, id %d is held by %s with state version %d; %s has only %d",
            registration.cluster_name,
            registration.broker_name,
            registration.broker_id,
            holder_addr,
            holder.data_version.state_version,
            registration.broker_addr,
            registration.data_version.state_version,
        )
        return True

    def _take_topics(self, registration: BrokerRegistration, *, first: bool, read_only: bool) -> None:
        name = registration.broker_name
        changed = first or self.is_broker_topic_config_changed(
            registration.cluster_name, registration.broker_addr, registration.data_version
        )
        if self._policy.delete_topic_with_broker_registration and not registration.topic_queue_mapping_infos:
            sent = {config.topic_name or key for key, config in registration.topics.items()}
            gone = [topic for topic, queues in self._topic_queue_table.items() if name in queues and topic not in sent]
            for topic in gone:
                log.info("topic %s is no longer on broker %s", topic, name)
                self._remove_queue_data(topic, [name])

        for key, config in registration.topics.items():
            topic = config.topic_name or key
            # With an unchanged version, what stands here may have been changed by an operator (write permission
            # wiped) and wins; only topics this broker is missing from are filled in.
            if changed or name not in self._topic_queue_table.get(topic, ()):
                perm = config.perm & ~perm_name.PERM_WRITE if read_only else config.perm
                self._put_queue_data(topic, name, config, perm)

        if changed:
            for topic, info in registration.topic_queue_mapping_infos.items():
                self._topic_mapping_table.setdefault(topic, {})[str(info.get("bname") or name)] = info

    def _put_queue_data(self, topic: str, broker_name: str, config: TopicConfig, perm: int) -> None:
        queue_data = QueueData(
            broker_name=broker_name,
            read_queue_nums=config.read_queue_nums,
            write_queue_nums=config.write_queue_nums,
            perm=perm,
            topic_sys_flag=config.topic_sys_flag,
        )
        by_broker = self._topic_queue_table.get(topic)
        if by_broker is None:
            self._topic_queue_table[topic] = {broker_name: queue_data}
            log.info("new topic registered, %s %s", topic, queue_data)
            return
        old = by_broker.get(broker_name)
        if old is not None and old != queue_data:
            log.info("topic changed, %s OLD: %s NEW: %s", topic, old, queue_data)
        by_broker[broker_name] = queue_data

    def _note_alive(self, registration: BrokerRegistration, now_ms: int) -> None:
        timeout_ms = registration.heartbeat_timeout_ms
        if timeout_ms is None or timeout_ms <= 0:
            # Zero would take the broker out at the next scan; no broker means that.
            timeout_ms = DEFAULT_HEARTBEAT_TIMEOUT_MS
        if registration.addr_info not in self._broker_live_table:
            log.info("new broker registered, %s HAService: %s", registration.addr_info, registration.ha_server_addr)
        self._broker_live_table[registration.addr_info] = BrokerLiveInfo(
            broker_name=registration.broker_name,
            broker_id=registration.broker_id,
            last_update_ms=now_ms,
            heartbeat_timeout_ms=timeout_ms,
            data_version=registration.data_version.copy(),
            channel_id=registration.channel_id,
            ha_server_addr=registration.ha_server_addr,
        )

    def _live_master_of(self, cluster_name: str, data: BrokerData) -> tuple[str | None, str | None]:
        master_addr = data.master_address()
        if master_addr is None:
            return None, None
        live = self._broker_live_table.get(BrokerAddrInfo(cluster_name, master_addr))
        return (None, None) if live is None else (master_addr, live.ha_server_addr)

    # -- leaving -----------------------------------------------------------------------------------------------------

    def unregister_brokers(self, unregistrations: Iterable[BrokerUnregistration]) -> list[MinBrokerIdChange]:
        """Takes brokers out; one pass over the topics for the whole batch.

        Returns: who is to be told of a new smallest id (only brokers with acting masters, and only by policy).
        """
        removed: set[str] = set()
        reduced: set[str] = set()
        offline: dict[str, str] = {}
        for one in unregistrations:
            live = self._broker_live_table.get(one.addr_info)
            # A wrong name must not cost the broker at that address its entry.
            found = live is not None and live.broker_name == one.broker_name
            if found:
                del self._broker_live_table[one.addr_info]
                self._filter_server_table.pop(one.addr_info, None)
            log.info("unregisterBroker, remove from brokerLiveTable %s, %s", "OK" if found else "Failed", one.addr_info)
            data = self._broker_addr_table.get(one.broker_name)
            if data is None:
                continue
            ids = [broker_id for broker_id, addr in data.broker_addrs.items() if addr == one.broker_addr]
            if not ids:
                # The id moved to another address meanwhile; that one stays.
                continue
            if min(data.broker_addrs) in ids:
                offline[one.broker_name] = one.broker_addr
            for broker_id in ids:
                del data.broker_addrs[broker_id]
            if self._drop_if_empty(one.broker_name):
                removed.add(one.broker_name)
            else:
                reduced.add(one.broker_name)

        removed -= self._broker_addr_table.keys()
        reduced &= self._broker_addr_table.keys()
        self._clean_topics(removed, reduced)
        if not self._policy.notify_min_broker_id_changed:
            return []
        return [
            _min_id_change(self._broker_addr_table[name], offline=offline[name], ha_addr=None)
            for name in sorted(reduced & offline.keys())
            if self._broker_addr_table[name].enable_acting_master
        ]

    def _drop_if_empty(self, broker_name: str) -> bool:
        """Removes a broker name without addresses, and a cluster without broker names."""
        data = self._broker_addr_table.get(broker_name)
        if data is None or data.broker_addrs:
            return False
        del self._broker_addr_table[broker_name]
        log.info("unregisterBroker, remove name from brokerAddrTable OK, %s", broker_name)
        for cluster in [c for c, names in self._cluster_addr_table.items() if broker_name in names]:
            self._cluster_addr_table[cluster].discard(broker_name)
            if not self._cluster_addr_table[cluster]:
                del self._cluster_addr_table[cluster]
                log.info("unregisterBroker, remove cluster from clusterAddrTable %s", cluster)
        return True

    def _clean_topics(self, removed: set[str], reduced: set[str]) -> None:
        without_master = {
            name
            for name in reduced
            if self._broker_addr_table[name].enable_acting_master
            and MASTER_ID not in self._broker_addr_table[name].broker_addrs
        }
        if not removed and not without_master:
            return
        for topic in list(self._topic_queue_table):
            for name in without_master & self._topic_queue_table[topic].keys():
                self._topic_queue_table[topic][name].perm &= ~perm_name.PERM_WRITE
            self._remove_queue_data(topic, removed)

    def _remove_queue_data(self, topic: str, broker_names: Iterable[str]) -> None:
        by_broker = self._topic_queue_table.get(topic)
        if by_broker is None:
            return
        for name in broker_names:
            by_broker.pop(name, None)
        if not by_broker:
            self._forget_topic(topic)

    def _forget_topic(self, topic: str) -> None:
        self._topic_queue_table.pop(topic, None)
        # The mapping goes too: a plain topic created under the same name later must not look static to clients.
        self._topic_mapping_table.pop(topic, None)

    def on_channel_destroy(self, channel_id: int) -> list[BrokerUnregistration]:
        """Which brokers leave because this connection ended: all that registered last over it (a broker container
        registers several). A broker that came back over a newer connection is not among them."""
        return [
            BrokerUnregistration(info.cluster_name, info.broker_addr, live.broker_name, live.broker_id)
            for info, live in self._broker_live_table.items()
            if live.channel_id == channel_id
        ]

    def scan_not_active_broker(self, *, now_ms: int) -> list[ExpiredBroker]:
        """Which brokers fell silent for longer than their own time-out (120 s unless they said otherwise)."""
        return [
            ExpiredBroker(
                BrokerUnregistration(info.cluster_name, info.broker_addr, live.broker_name, live.broker_id),
                live.channel_id,
                live.heartbeat_timeout_ms,
            )
            for info, live in self._broker_live_table.items()
            if live.expired(now_ms)
        ]

    # -- liveness and versions ---------------------------------------------------------------------------------------

    def update_broker_info_update_timestamp(self, cluster_name: str, broker_addr: str, *, now_ms: int) -> None:
        live = self._broker_live_table.get(BrokerAddrInfo(cluster_name, broker_addr))
        if live is not None:
            live.last_update_ms = now_ms

    def query_broker_topic_config(self, cluster_name: str, broker_addr: str) -> DataVersion | None:
        live = self._broker_live_table.get(BrokerAddrInfo(cluster_name, broker_addr))
        return None if live is None else live.data_version

    def is_broker_topic_config_changed(self, cluster_name: str, broker_addr: str, version: DataVersion) -> bool:
        return self.query_broker_topic_config(cluster_name, broker_addr) != version

    # -- topics ------------------------------------------------------------------------------------------------------

    def register_topic(self, topic: str, queue_datas: list[QueueData]) -> bool:
        """Adds an operator's queue data to a topic; refused as a whole when it names an unknown broker."""
        for queue_data in queue_datas:
            if queue_data.broker_name not in self._broker_addr_table:
                log.warning("Register topic contains illegal broker, %s, %s", topic, queue_data)
                return False
        if queue_datas:
            by_broker = self._topic_queue_table.setdefault(topic, {})
            for queue_data in queue_datas:
                by_broker[queue_data.broker_name] = msgspec.structs.replace(queue_data)
            log.info("Register topic route:%s, %s", topic, queue_datas)
        return True

    def delete_topic(self, topic: str, cluster_name: str | None = None) -> None:
        """Takes a topic out, of one cluster's brokers when a cluster is named."""
        if not cluster_name:
            self._forget_topic(topic)
            return
        self._remove_queue_data(topic, self._cluster_addr_table.get(cluster_name, ()))

    def wipe_write_perm_of_broker(self, broker_name: str) -> int:
        """Returns: how many topics were touched."""
        touched = self._queue_datas_of(broker_name)
        for queue_data in touched:
            queue_data.perm &= ~perm_name.PERM_WRITE
        return len(touched)

    def add_write_perm_of_broker(self, broker_name: str) -> int:
        """Gives every topic of the broker read and write permission, whatever it had before (the inherit bit of
        TBW102 included), as the original does. Returns: how many topics were touched."""
        touched = self._queue_datas_of(broker_name)
        for queue_data in touched:
            queue_data.perm = perm_name.PERM_READ_WRITE
        return len(touched)

    def _queue_datas_of(self, broker_name: str) -> list[QueueData]:
        return [queues[broker_name] for queues in self._topic_queue_table.values() if broker_name in queues]

    # -- answers -----------------------------------------------------------------------------------------------------

    def pickup_topic_route_data(self, topic: str) -> TopicRouteData | None:
        """The route of a topic, None when no live broker holds it.

        Brokers come sorted by name, so that equal routes look equal to clients that compare texts.
        Returns: copies; the caller may change them.
        """
        by_broker = self._topic_queue_table.get(topic)
        if not by_broker:
            return None
        names = sorted(by_broker)
        brokers = [
            msgspec.structs.replace(data, broker_addrs=dict(sorted(data.broker_addrs.items())))
            for data in map(self._broker_addr_table.get, names)
            if data is not None
        ]
        if not brokers:
            return None
        route = TopicRouteData(
            queue_datas=[msgspec.structs.replace(by_broker[name]) for name in names],
            broker_datas=brokers,
            filter_server_table=self._filter_servers_of(brokers),
            topic_queue_mapping_by_broker=self._topic_mapping_table.get(topic),
        )
        if self._policy.support_acting_master and not topic.startswith(SYNC_BROKER_MEMBER_PREFIX):
            _show_acting_masters(route)
        return route

    def _filter_servers_of(self, brokers: list[BrokerData]) -> dict[str, list[str]]:
        table: dict[str, list[str]] = {}
        if self._filter_server_table:
            for data in brokers:
                for addr in data.broker_addrs.values():
                    servers = self._filter_server_table.get(BrokerAddrInfo(data.cluster, addr))
                    if servers is not None:
                        table[addr] = list(servers)
        return table

    def all_brokers(self) -> dict[str, BrokerData]:
        """Broker name to addresses, of all clusters; to be read only."""
        return self._broker_addr_table

    def all_clusters(self) -> dict[str, list[str]]:
        """Cluster to its broker names."""
        return {cluster: sorted(names) for cluster, names in self._cluster_addr_table.items()}

    def broker_member_group(self, broker_name: str) -> dict[int, str]:
        """Id to address of one broker name; empty when it is unknown."""
        data = self._broker_addr_table.get(broker_name)
        return {} if data is None else dict(sorted(data.broker_addrs.items()))

    def all_topics(self) -> list[str]:
        return list(self._topic_queue_table)

    def topics_by_cluster(self, cluster_name: str) -> list[str]:
        names = self._cluster_addr_table.get(cluster_name, set())
        return [topic for topic, queues in self._topic_queue_table.items() if not names.isdisjoint(queues)]

    def system_topics(self) -> tuple[list[str], str | None]:
        """Every cluster and broker name is a topic that clients must not use; with them, the address of one broker,
        which is asked for the rest."""
        topics: dict[str, None] = {}
        for cluster, names in self._cluster_addr_table.items():
            topics[cluster] = None
            topics.update(dict.fromkeys(sorted(names)))
        for data in self._broker_addr_table.values():
            return list(topics), data.broker_addrs[min(data.broker_addrs)]
        return list(topics), None

    def unit_topics(self) -> list[str]:
        return [topic for topic, flag in self._topic_sys_flags() if flag & sys_flag.TOPIC_UNIT]

    def has_unit_sub_topics(self) -> list[str]:
        return [topic for topic, flag in self._topic_sys_flags() if flag & sys_flag.TOPIC_UNIT_SUB]

    def has_unit_sub_ununit_topics(self) -> list[str]:
        return [
            topic
            for topic, flag in self._topic_sys_flags()
            if flag & sys_flag.TOPIC_UNIT_SUB and not flag & sys_flag.TOPIC_UNIT
        ]

    def _topic_sys_flags(self) -> list[tuple[str, int]]:
        return [(topic, next(iter(q.values())).topic_sys_flag) for topic, q in self._topic_queue_table.items()]

    def sizes(self) -> dict[str, int]:
        """Table sizes, for the log."""
        return {
            "topicQueueTable": len(self._topic_queue_table),
            "brokerAddrTable": len(self._broker_addr_table),
            "clusterAddrTable": len(self._cluster_addr_table),
            "brokerLiveTable": len(self._broker_live_table),
        }


def _min_id_change(data: BrokerData, *, offline: str | None, ha_addr: str | None) -> MinBrokerIdChange:
    """Who hears of a new smallest id: everybody left when a broker went; otherwise everybody but the newcomer."""
    smallest = min(data.broker_addrs)
    everybody = offline is not None or len(data.broker_addrs) == 1
    return MinBrokerIdChange(
        broker_name=data.broker_name,
        min_broker_id=smallest,
        min_broker_addr=data.broker_addrs[smallest],
        offline_broker_addr=offline,
        ha_broker_addr=ha_addr,
        notify=tuple(addr for i, addr in sorted(data.broker_addrs.items()) if everybody or i != smallest),
    )


def _show_acting_masters(route: TopicRouteData) -> None:
    """Shows the smallest slave as id 0 where the master is gone and the queues are read-only.

    Clients send some requests (locks, offsets, searches) to id 0 only; the acting master answers them.
    """
    perms = {queue_data.broker_name: queue_data.perm for queue_data in route.queue_datas}
    for data in route.broker_datas:
        addrs = data.broker_addrs
        if not addrs or MASTER_ID in addrs or not data.enable_acting_master:
            continue
        if not perm_name.is_writeable(perms[data.broker_name]):
            addrs[MASTER_ID] = addrs.pop(min(addrs))
