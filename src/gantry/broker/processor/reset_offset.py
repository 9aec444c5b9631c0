"""INVOKE_BROKER_TO_RESET_OFFSET (222): an operator moves a group to a time or to an offset."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.model.message import MessageQueue
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.consumer import ResetOffsetBody
from gantry.protocol.remoting.codes import LanguageCode, ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.invoke_broker_to_reset_offset import InvokeBrokerToResetOffsetRequestHeader
from gantry.protocol.remoting.header.reset_offset import ResetConsumerClientOffsetRequestHeader
from gantry.store import BoundaryType

from ..client_manager.client_channel import ClientChannelInfo
from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)

V3_0_7_SNAPSHOT = 28
"""Clients before it do not understand RESET_CONSUMER_CLIENT_OFFSET."""


class ResetOffsetProcessor:
    """Two ways, by the setting useServerSideResetOffset.

    On (default): the offset is parked per queue; the group's next pull is answered 21 with it, commits are ignored
    until then. Works whether or not consumers are connected.
    Off: the connected consumers are told (220), and forget what they hold; nobody connected is answered 206.
    Source: AdminBrokerProcessor.resetOffset, Broker2Client.resetOffset (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: InvokeBrokerToResetOffsetRequestHeader
    ) -> RemotingCommand:
        log.info(
            "[reset-offset] started by %s. topic=%s, group=%s, timestamp=%d, isForce=%s",
            ctx.channel.remote_address, header.topic, header.group, header.timestamp, header.is_force,
        )  # fmt: skip
        if self._broker.config.use_server_side_reset_offset:
            offsets = await self._park(header)
        else:
            offsets = await self._tell_consumers(request, header)
        return json_reply(request, ResetOffsetBody(offsets))

    async def _park(self, header: InvokeBrokerToResetOffsetRequestHeader) -> dict[MessageQueue, int]:
        broker = self._broker
        if broker.config.is_slave:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, "Can not reset offset in slave broker")
        topic = broker.topics.select(header.topic)
        if topic is None:
            raise BrokerError(ResponseCode.TOPIC_NOT_EXIST, f"Topic {header.topic} does not exist")
        if not broker.subscriptions.contains(header.group):
            raise BrokerError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, f"Group {header.group} does not exist")
        targets: dict[int, int] = {}
        queue_id = -1 if header.queue_id is None else header.queue_id
        if queue_id >= 0:
            if queue_id >= max(topic.read_queue_nums, topic.write_queue_nums):
                raise BrokerError(
                    ResponseCode.INVALID_PARAMETER,
                    f"queueId[{queue_id}] is illegal, topic:[{header.topic}] "
                    f"topicConfig.readQueueNums:[{topic.read_queue_nums}]",
                )
            if header.offset is not None and header.offset != -1:
                await self._check_range(header.topic, queue_id, header.offset)
                targets[queue_id] = header.offset
            else:
                targets[queue_id] = await self._search(header.topic, queue_id, header.timestamp)
        else:
            for each in range(topic.read_queue_nums):
                targets[each] = await self._search(header.topic, each, header.timestamp)
        if not targets:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, "No queues to reset.")
        for each, offset in targets.items():
            broker.offsets.assign_reset_offset(header.topic, header.group, each, offset)
        await broker.offsets.file.flush()
        name = broker.config.broker_name
        return {MessageQueue(header.topic, name, each): offset for each, offset in targets.items()}

    async def _tell_consumers(
        self, request: RemotingCommand, header: InvokeBrokerToResetOffsetRequestHeader
    ) -> dict[MessageQueue, int]:
        broker = self._broker
        topic = broker.topics.select(header.topic)
        if topic is None:
            raise BrokerError(
                ResponseCode.TOPIC_NOT_EXIST,
                f"[reset-offset] reset offset failed, no topic in this broker. topic={header.topic}",
            )
        targets: dict[MessageQueue, int] = {}
        for queue_id in range(topic.write_queue_nums):
            consumed = broker.offsets.query(header.group, header.topic, queue_id)
            if consumed == -1:
                raise BrokerError(ResponseCode.SYSTEM_ERROR, f"THe consumer group <{header.group}> not exist")
            found = await self._search(header.topic, queue_id, header.timestamp)
            queue = MessageQueue(header.topic, broker.config.broker_name, queue_id)
            targets[queue] = found if header.is_force or found < consumed else consumed
        info = broker.consumers.group_info(header.group)
        if info is None:
            raise BrokerError(
                ResponseCode.CONSUMER_NOT_ONLINE,
                f"Consumer not online, so can not reset offset, Group: {header.group} Topic: {header.topic} "
                f"Timestamp: {header.timestamp}",
            )
        clients = list(info.channels.values())
        for client in clients:
            if client.version < V3_0_7_SNAPSHOT:
                raise BrokerError(
                    ResponseCode.SYSTEM_ERROR, f"the client does not support this feature. version={client.version}"
                )
        for client in clients:
            listed = request.language == LanguageCode.CPP or client.language == LanguageCode.CPP.name
            self._push(client, header, targets, as_list=listed)
        return targets

    @staticmethod
    def _push(
        client: ClientChannelInfo,
        header: InvokeBrokerToResetOffsetRequestHeader,
        targets: dict[MessageQueue, int],
        *,
        as_list: bool,
    ) -> None:
        told = ResetConsumerClientOffsetRequestHeader(
            topic=header.topic, group=header.group, timestamp=header.timestamp, is_force=header.is_force
        )
        body = encode_reset_list(targets) if as_list else json_dialect.encode(ResetOffsetBody(targets))
        client.channel.invoke_oneway(RemotingCommand.request(told, body))
        log.info("[reset-offset] topic=%s, group=%s: client %s was told", header.topic, header.group, client.client_id)

    async def _check_range(self, topic: str, queue_id: int, offset: int) -> None:
        first, end = await self._broker.store.first_offset(topic, queue_id), self._broker.store.max_offset(topic, queue_id)
        if offset < max(first, 0) or offset > end + 1:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"Target offset {offset} not in consume queue range [{first}-{end}]")

    async def _search(self, topic: str, queue_id: int, timestamp: int) -> int:
        """The offset of a time; the queue's end for a negative one."""
        store = self._broker.store
        if timestamp < 0:
            return max(store.max_offset(topic, queue_id), 0)
        return max(await store.search_offset_by_time(topic, queue_id, timestamp, BoundaryType.LOWER), 0)


def encode_reset_list(targets: dict[MessageQueue, int]) -> bytes:
    """The form C++ clients read: a list, because their JSON knows no objects as keys."""
    return json_dialect.encode(
        {
            "offsetTable": [
                {"brokerName": queue.broker_name, "offset": offset, "queueId": queue.queue_id, "topic": queue.topic}
                for queue, offset in targets.items()
            ]
        }
    )
