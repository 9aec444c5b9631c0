"""CONSUME_MESSAGE_DIRECTLY (309): lets one connected consumer consume one stored message now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol.message.message_id import decode_offset_msg_id
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.consume_message_directly import ConsumeMessageDirectlyRequestHeader

from .call_consumer import call_consumer

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class ConsumeMessageDirectlyProcessor:
    """The message goes along with the request; the consumer's verdict comes back.

    Source: AdminBrokerProcessor.consumeMessageDirectly (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: ConsumeMessageDirectlyRequestHeader
    ) -> RemotingCommand:
        broker = self._broker
        _, physical_offset = decode_offset_msg_id(header.msg_id or "")
        record = await broker.store.message_at(physical_offset)
        if record is None:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"can not find message by the offset, {physical_offset}")
        fields = dict(request.ext_fields or {})
        fields["brokerName"] = broker.config.broker_name
        topic = broker.topics.select(header.topic or "")
        if topic is not None:
            fields["topicSysFlag"] = str(topic.topic_sys_flag)
        group = broker.subscriptions.table.get(header.consumer_group)
        if group is not None:
            fields["groupSysFlag"] = str(group.group_sys_flag)
        request.ext_fields = fields
        return await call_consumer(broker, request, header.consumer_group, header.client_id or "", bytes(record))
