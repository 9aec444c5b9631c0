"""The part producers and consumers share: connections, routes, heartbeats, and requests that brokers send to clients."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from gantry.errors import BrokerError, ClientError, MQError, NoRoute, RemotingError
from gantry.model import ConsumerData, HeartbeatData, MessageQueue, ProducerData, QueueData, TopicRouteData
from gantry.model.names import MASTER_ID
from gantry.model.topic_validator import DEFAULT_TOPIC
from gantry.runtime.address import local_ip
from gantry.runtime.remoting_client import RemotingClient
from gantry.runtime.remoting_server import RequestTable

from .broker_api import BrokerApi
from .client_id import build_client_id, unique_instance_name
from .doors import Doors
from .name_server_api import NameServerApi
from .pop_api import PopApi
from .publish_info import PublishInfo
from .remoting import Remoting
from .request_reply import PendingReplies
from .requests_from_brokers import TransactionMember, requests_from_brokers
from .route_cache import RouteCache
from .tasks import TaskSet

logger = logging.getLogger(__name__)

ROUTE_POLL_MS = 30_000
HEARTBEAT_MS = 30_000


class ConsumerMember(Protocol):
    """What the instance asks of a consumer it carries."""

    group: str

    def consumer_data(self) -> ConsumerData:
        """What heartbeats say of it."""

    def topics(self) -> Iterable[str]:
        """Topics whose routes it needs."""

    def wake_rebalance(self) -> None:
        """Members or queues of the group may have changed."""

    async def reset_offsets(self, topic: str, offsets: dict[MessageQueue, int]) -> None: ...

    def consume_status(self, topic: str) -> dict[MessageQueue, int]: ...

    def running_info(self) -> dict[str, Any]: ...


class ClientInstance:
    """One client as brokers see it: one client id, one connection per broker, one heartbeat for all its groups.

    start() returns when the loops run; it asks nobody. stop() returns when every broker was told and connections are closed.
    Source: MQClientInstance (5.3).
    """

    def __init__(
        self,
        *,
        name_servers: Sequence[str],
        doors: Doors,
        instance_name: str | None = None,
        unit_name: str | None = None,
        remoting: Remoting | None = None,
        timeout_ms: int = 3000,
    ) -> None:
        self.doors = doors
        self.ip = local_ip()
        salt = doors.rng.token(2).hex()
        name = instance_name or unique_instance_name(pid=os.getpid(), monotonic_ns=doors.clock.monotonic_ns(), salt=salt)
        self.client_id = build_client_id(ip=self.ip, instance_name=name, unit_name=unit_name)
        self.replies = PendingReplies(doors.clock)
        self._own_remoting: RemotingClient | None = None
        if remoting is None:
            remoting = self._own_remoting = RemotingClient(doors.net, doors.clock, requests=self._request_table())
        self._remoting = remoting
        self._name_server_list = tuple(name_servers)
        self.name_servers = NameServerApi(
            remoting, lambda: self._name_server_list, first=doors.rng.randrange(max(1, len(self._name_server_list)))
        )
        self.brokers = BrokerApi(remoting, timeout_ms=timeout_ms)
        self.pops = PopApi(remoting, timeout_ms=timeout_ms)
        self.routes = RouteCache()
        self._producer_groups: set[str] = set()
        self._consumers: dict[str, ConsumerMember] = {}
        self._transaction_producers: dict[str, TransactionMember] = {}
        self._producer_topics: set[str] = set()
        self._tasks = TaskSet()
        self._heartbeat_wanted = asyncio.Event()
        self._heard_by: set[str] = set()
        self._route_locks: dict[str, asyncio.Lock] = {}
        self._started = False

    # --- members

    def add_producer(self, group: str) -> None:
        self._producer_groups.add(group)
        self._heartbeat_wanted.set()

    def add_consumer(self, consumer: ConsumerMember) -> None:
        """Raises: ClientError when the group already has a consumer in this instance."""
        if consumer.group in self._consumers:
            raise ClientError(
                f"group {consumer.group} already has a consumer in this client; give the second one a client of its own"
            )
        self._consumers[consumer.group] = consumer

    def add_transaction_producer(self, group: str, producer: TransactionMember) -> None:
        """This producer answers brokers that ask about transactions of its group."""
        self._transaction_producers[group] = producer

    def remove_transaction_producer(self, group: str) -> None:
        self._transaction_producers.pop(group, None)

    def transaction_producer(self, group: str) -> TransactionMember | None:
        return self._transaction_producers.get(group)

    def consumer(self, group: str) -> ConsumerMember | None:
        return self._consumers.get(group)

    async def remove_producer(self, group: str) -> None:
        self._producer_groups.discard(group)
        await self._unregister(producer_group=group)

    async def remove_consumer(self, group: str) -> None:
        self._consumers.pop(group, None)
        await self._unregister(consumer_group=group)

    # --- life

    async def start(self) -> None:
        """Start the route and heartbeat loops. Calling it again changes nothing."""
        if self._started:
            return
        self._started = True
        self._tasks.start(self._route_loop(), name="gantry-client-routes")
        self._tasks.start(self._heartbeat_loop(), name="gantry-client-heartbeat")

    async def stop(self) -> None:
        await self._tasks.cancel_all()
        if self._own_remoting is not None:
            await self._own_remoting.close()
        self._started = False

    # --- routes

    async def publish_info(self, topic: str, *, default_queue_count: int = 4) -> PublishInfo:
        """Where to write a topic's messages.

        A topic without a route is written through the route of TBW102, on a broker that creates topics on the first send.
        Raises: NoRoute, which says who was asked and what to do; ClientError when no name server answers.
        """
        self._producer_topics.add(topic)
        info = self.routes.publish_info(topic)
        if info is not None:
            return info
        await self.refresh_route(topic)
        info = self.routes.publish_info(topic)
        if info is not None:
            return info
        template = await self.name_servers.route(DEFAULT_TOPIC)
        if template is not None:
            self._take_route(topic, _as_new_topic(template, default_queue_count))
            info = self.routes.publish_info(topic)
            if info is not None:
                return info
        raise self.no_route(topic)

    async def refresh_route(self, topic: str) -> bool:
        """Ask for a topic's route and keep it. Returns: whether the topic is known now.

        Questions for one topic do not overlap. A missing topic keeps the route it had: brokers may be restarting.
        Raises: ClientError when no name server answers; BrokerError when one refuses.
        """
        lock = self._route_locks.setdefault(topic, asyncio.Lock())
        async with lock:
            route = await self.name_servers.route(topic)
            if route is None:
                return self.routes.route(topic) is not None
            self._take_route(topic, route)
            return True

    def master_address(self, broker_name: str) -> str:
        """Raises: ClientError when no route names a master for the broker now."""
        address = self.routes.master_address(broker_name)
        if address is None:
            raise ClientError(f"broker {broker_name} has no master in the routes known now; the next route poll may bring one")
        return address

    def address(self, broker_name: str, broker_id: int = MASTER_ID) -> str:
        """Any replica, the asked one if known. Raises: ClientError."""
        address = self.routes.address(broker_name, broker_id)
        if address is None:
            raise ClientError(f"broker {broker_name} is in no route known now; the next route poll may bring it")
        return address

    def no_route(self, topic: str) -> NoRoute:
        """The error that says who was asked and what to do."""
        asked = ", ".join(self.name_servers.addresses)
        return NoRoute(
            f"no route for topic {topic}: name server {asked} knows neither it nor a broker that creates topics on the first "
            f"send. Create it with: mqadmin updateTopic -n {self.name_servers.addresses[0]} -c DefaultCluster -t {topic}; "
            f"or start a broker with autoCreateTopicEnable=true that registers with this name server"
        )

    def _take_route(self, topic: str, route: TopicRouteData) -> None:
        known = {address for _, _, address in self.routes.addresses()}
        if self.routes.update(topic, route, first_queue=self.doors.rng.randrange(1 << 16)):
            if {address for _, _, address in self.routes.addresses()} - known:
                self._heartbeat_wanted.set()
            for consumer in self._consumers.values():
                consumer.wake_rebalance()

    async def _route_loop(self) -> None:
        while True:
            await self.doors.clock.sleep_ms(ROUTE_POLL_MS)
            topics = set(self._producer_topics)
            for consumer in list(self._consumers.values()):
                topics.update(consumer.topics())
            for topic in sorted(topics):
                try:
                    await self.refresh_route(topic)
                except MQError as error:
                    logger.warning("route of %s is not refreshed: %s", topic, error)

    # --- heartbeats

    def request_heartbeat(self) -> None:
        """Send one soon: something brokers know of this client changed."""
        self._heartbeat_wanted.set()

    async def heartbeat_all(self) -> None:
        """Tell every known broker of this client's groups; failures are logged. Producers alone only need masters."""
        data = self._heartbeat_data()
        if not data.producer_data_set and not data.consumer_data_set:
            return
        targets = sorted(
            {address for _, broker_id, address in self.routes.addresses() if data.consumer_data_set or broker_id == MASTER_ID}
        )
        await asyncio.gather(*(self._heartbeat(address, data) for address in targets))

    async def make_known(self) -> None:
        """Returns when every master in the routes has heard of this client, if it answers: it can push replies then."""
        if {address for _, broker_id, address in self.routes.addresses() if broker_id == MASTER_ID} - self._heard_by:
            await self.heartbeat_all()

    async def _heartbeat(self, address: str, data: HeartbeatData) -> None:
        try:
            await self.brokers.heartbeat(address, data)
            self._heard_by.add(address)
        except (RemotingError, BrokerError) as error:
            self._heard_by.discard(address)
            logger.warning("heartbeat to %s failed: %s", address, error)

    def _heartbeat_data(self) -> HeartbeatData:
        return HeartbeatData(
            client_id=self.client_id,
            producer_data_set=[ProducerData(group_name=group) for group in sorted(self._producer_groups)],
            consumer_data_set=[self._consumers[group].consumer_data() for group in sorted(self._consumers)],
        )

    async def _heartbeat_loop(self) -> None:
        clock = self.doors.clock
        while True:
            timer = clock.call_later(HEARTBEAT_MS, self._heartbeat_wanted.set)
            try:
                await self._heartbeat_wanted.wait()
            finally:
                timer.cancel()
            self._heartbeat_wanted.clear()
            await self.heartbeat_all()

    async def _unregister(self, *, producer_group: str | None = None, consumer_group: str | None = None) -> None:
        async def one(address: str) -> None:
            try:
                await self.brokers.unregister(
                    address, self.client_id, producer_group=producer_group, consumer_group=consumer_group
                )
            except (RemotingError, BrokerError) as error:
                logger.info("unregistering at %s failed: %s; the broker forgets this client when it is silent", address, error)

        await asyncio.gather(*(one(address) for address in sorted({entry[2] for entry in self.routes.addresses()})))

    # --- requests from brokers

    def _request_table(self) -> RequestTable:
        table = RequestTable()
        for code, header, handler in requests_from_brokers(self, self.replies):
            table.add(code, header, handler)
        return table


def _as_new_topic(template: TopicRouteData, queue_count: int) -> TopicRouteData:
    """The route a topic will have once the first send has created it: never more queues than asked for."""
    return TopicRouteData(
        queue_datas=[
            QueueData(
                broker_name=data.broker_name,
                read_queue_nums=min(queue_count, data.read_queue_nums),
                write_queue_nums=min(queue_count, data.write_queue_nums),
                perm=data.perm,
                topic_sys_flag=data.topic_sys_flag,
            )
            for data in template.queue_datas
        ],
        broker_datas=template.broker_datas,
    )
