"""The operator's client: asks name servers and brokers, official ones as well as ours."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

import msgspec

from gantry.client.broker_api import BrokerApi
from gantry.client.doors import Doors
from gantry.client.name_server_addresses import resolve_name_servers
from gantry.client.name_server_api import NameServerApi
from gantry.client.publish_info import readable_queues
from gantry.client.remoting import Remoting, ask
from gantry.errors import BrokerError, ClientError, RemotingError
from gantry.model import MessageQueue, TopicRouteData
from gantry.model.heartbeat import SubscriptionData
from gantry.model.names import retry_topic
from gantry.protocol import json_dialect
from gantry.protocol.remoting import RemotingCommand, ResponseCode
from gantry.protocol.remoting.body.consumer import ConsumerConnection, decode_queue_table
from gantry.protocol.remoting.header.get_consume_stats import GetConsumeStatsRequestHeader
from gantry.protocol.remoting.header.get_consumer_connection_list import GetConsumerConnectionListRequestHeader
from gantry.protocol.remoting.header.get_consumer_running_info import GetConsumerRunningInfoRequestHeader
from gantry.protocol.remoting.header.invoke_broker_to_reset_offset import InvokeBrokerToResetOffsetRequestHeader
from gantry.runtime.remoting_client import RemotingClient

from .group_doctor import BrokerView, GroupReport, examine, said_by
from .offset_reset import QueueMove, ResetReport, report
from .timers import TimerAdmin

logger = logging.getLogger(__name__)

TIMEOUT_MS = 5_000
RUNNING_INFO_MAX = 200
"""Members asked one by one where the broker cannot say what they listen to."""


class _RunningInfo(msgspec.Struct, rename="camel"):
    subscription_set: list[SubscriptionData] = msgspec.field(default_factory=list)


class AdminClient:
    """Start it with `async with`. Addresses are `ip:port`; every method raises ClientError, BrokerError or RemotingError.

    `timers` is what waits for a topic.
    """

    def __init__(
        self, *, name_servers: str | None = None, doors: Doors | None = None, remoting: Remoting | None = None
    ) -> None:
        self._doors = doors or Doors.system()
        self._own: RemotingClient | None = None
        if remoting is None:
            remoting = self._own = RemotingClient(self._doors.net, self._doors.clock)
        self._remoting = remoting
        addresses = tuple(resolve_name_servers(name_servers))
        self.name_servers = NameServerApi(remoting, lambda: addresses)
        self.brokers = BrokerApi(remoting, timeout_ms=TIMEOUT_MS)
        self.timers = TimerAdmin(remoting, self._masters_of)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._own is not None:
            await self._own.close()

    async def examine_group(self, group: str) -> GroupReport:
        """Asks every broker that knows the group for its members, what they listen to, and how far they are.

        Raises: ClientError when no broker knows the group.
        """
        route = await self.name_servers.route(retry_topic(group))
        if route is None:
            raise ClientError(f"no broker knows group {group}: it has no retry topic, so nobody of it was ever connected")
        views = [await self._view(group, name, address) for name, address in _masters(route)]
        topics = {topic for view in views for said in view.said for topic, _, _ in said.subscriptions}
        return examine(group, views, queue_counts={topic: await self._queue_count(topic) for topic in sorted(topics)})

    async def preview_reset(self, group: str, topic: str, timestamp_ms: int) -> ResetReport:
        """What `reset_offset` would do, queue by queue; changes nothing. A negative time is the end of each queue."""
        moves = []
        for queue, address in _queues(topic, await self._route(topic)):
            if timestamp_ms < 0:
                target = await self.brokers.max_offset(address, queue)
            else:
                target = await self.brokers.search_offset(address, queue, timestamp_ms)
            moves.append(QueueMove(queue, await self.brokers.query_offset(address, group, queue), max(target, 0)))
        return report(group, topic, moves, done=False)

    async def reset_offset(self, group: str, topic: str, timestamp_ms: int) -> ResetReport:
        """Moves a group, connected or not, to the first message stored at or after a time; negative: behind the last one.

        Connected members go on at the new place with their next pull. A broker that refuses ends it: what the brokers before
        it did stays done, and is done again without harm.
        """
        route = await self._route(topic)
        before = {queue: await self.brokers.query_offset(address, group, queue) for queue, address in _queues(topic, route)}
        header = InvokeBrokerToResetOffsetRequestHeader(group=group, topic=topic, timestamp=timestamp_ms, is_force=True)
        moves: list[QueueMove] = []
        for _, address in _masters(route):
            answer = await ask(self._remoting, address, RemotingCommand.request(header), TIMEOUT_MS)
            for queue, offset in decode_queue_table(answer.body, "offsetTable").items():
                moves.append(QueueMove(queue, before.get(queue), int(offset)))
        return report(group, topic, moves, done=True)

    async def _route(self, topic: str) -> TopicRouteData:
        route = await self.name_servers.route(topic)
        if route is None:
            raise ClientError(f"no route for topic {topic}: no broker has it")
        return route

    async def _masters_of(self, topic: str) -> list[tuple[str, str]]:
        return _masters(await self._route(topic))

    async def _view(self, group: str, broker_name: str, address: str) -> BrokerView:
        view = BrokerView(broker_name)
        request = RemotingCommand.request(
            GetConsumerConnectionListRequestHeader(consumer_group=group, member_subscriptions=True)
        )
        response = await self._remoting.invoke(address, request, TIMEOUT_MS)
        if response.code == ResponseCode.SUCCESS:
            connected = json_dialect.decode_as(response.body, ConsumerConnection)
            view.members = connected.connection_set
            view.message_model = connected.message_model or ""
            if connected.member_subscriptions is None:
                for member in view.members[:RUNNING_INFO_MAX]:
                    told = await self._subscriptions_of(address, group, member.client_id)
                    if told is not None:
                        view.said.append(said_by(member.client_id, view.message_model, told))
            else:
                view.said = connected.member_subscriptions
        elif response.code != ResponseCode.CONSUMER_NOT_ONLINE:
            raise BrokerError(response.code, response.remark or "", address=address)
        stats = await ask(
            self._remoting, address, RemotingCommand.request(GetConsumeStatsRequestHeader(consumer_group=group)), TIMEOUT_MS
        )
        for queue, offsets in decode_queue_table(stats.body, "offsetTable").items():
            view.positions[queue] = (int(offsets["consumerOffset"]), int(offsets["brokerOffset"]))
        return view

    async def _subscriptions_of(self, address: str, group: str, client_id: str) -> list[SubscriptionData] | None:
        """What one member says of itself when its broker asks it; None from a client that does not answer such questions."""
        header = GetConsumerRunningInfoRequestHeader(consumer_group=group, client_id=client_id)
        try:
            response = await ask(self._remoting, address, RemotingCommand.request(header), TIMEOUT_MS)
        except (BrokerError, RemotingError) as error:
            logger.info("member %s of group %s does not say what it listens to: %s", client_id, group, error)
            return None
        return json_dialect.decode_as(response.body, _RunningInfo).subscription_set

    async def _queue_count(self, topic: str) -> int:
        route = await self.name_servers.route(topic)
        return 0 if route is None else len(readable_queues(topic, route))


def _masters(route: TopicRouteData) -> list[tuple[str, str]]:
    found = ((data.broker_name, data.master_address()) for data in route.broker_datas)
    return sorted((name, address) for name, address in found if address is not None)


def _queues(topic: str, route: TopicRouteData) -> list[tuple[MessageQueue, str]]:
    """The queues of a topic on brokers that have a master, each with its address."""
    addresses = dict(_masters(route))
    return [
        (MessageQueue(topic, data.broker_name, queue_id), addresses[data.broker_name])
        for data in route.queue_datas
        if data.broker_name in addresses
        for queue_id in range(data.read_queue_nums)
    ]
