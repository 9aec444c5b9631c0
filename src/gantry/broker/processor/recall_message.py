"""RECALL_MESSAGE (370): a timer message is taken back by the handle that its send was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError, RemoteProtocolError
from gantry.model import StoreMessage, message_const, perm_name, topic_validator
from gantry.protocol.message.recall_handle import RecallHandle, decode_recall_handle
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.recall_message import RecallMessageRequestHeader, RecallMessageResponseHeader
from gantry.runtime.address import split_address
from gantry.store import PutStatus

from ..timer.deliver_time import TimerIllegal, deliver_ms
from ..timer.recall_mark import mark_properties
from . import put_answer
from .send_message import encoded, put
from .timed_send import place_timed

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

_NOT_AVAILABLE = "recall failed, broker service not available"


class RecallMessageProcessor:
    """Stores a mark that is due with the message; when their slot fires the message is left out.

    Source: RecallMessageProcessor (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: RecallMessageRequestHeader
    ) -> RemotingCommand:
        try:
            handle = self._check(header)
            await self._store_mark(ctx, header, handle)
        except BrokerError as refused:
            response = request.reply(refused.response_code, refused.remark)
        else:
            response = request.reply(ResponseCode.SUCCESS, header=RecallMessageResponseHeader(msg_id=handle.unique_key))
        fields = response.ext_fields if response.ext_fields is not None else {}
        fields[message_const.MSG_REGION] = self._broker.config.region_id
        response.ext_fields = fields
        return response

    def _check(self, header: RecallMessageRequestHeader) -> RecallHandle:
        """Raises: BrokerError."""
        broker, config = self._broker, self._broker.config
        if not config.recall_message_enable:
            raise BrokerError(ResponseCode.NO_PERMISSION, "recall failed, operation is forbidden")
        if config.is_slave:
            raise BrokerError(ResponseCode.SLAVE_NOT_AVAILABLE, _NOT_AVAILABLE)
        if broker.clock.now_ms() < config.start_accept_send_request_time_stamp:
            raise BrokerError(ResponseCode.SERVICE_NOT_AVAILABLE, _NOT_AVAILABLE)
        if not perm_name.is_writeable(config.broker_permission) and not config.allow_recall_when_broker_not_writeable:
            raise BrokerError(ResponseCode.SERVICE_NOT_AVAILABLE, _NOT_AVAILABLE)
        if broker.topics.select(header.topic) is None:
            raise BrokerError(ResponseCode.TOPIC_NOT_EXIST, f"recall failed, the topic[{header.topic}] not exist")
        try:
            handle = decode_recall_handle(header.recall_handle)
        except RemoteProtocolError as error:
            raise BrokerError(ResponseCode.ILLEGAL_OPERATION, str(error)) from None
        if header.topic != handle.topic or topic_validator.is_system_topic(header.topic):
            raise BrokerError(ResponseCode.ILLEGAL_OPERATION, "recall failed, topic not match")
        if config.broker_name != handle.broker_name:
            raise BrokerError(ResponseCode.ILLEGAL_OPERATION, _NOT_AVAILABLE)
        try:
            at_ms = deliver_ms({message_const.TIMER_DELIVER_MS: handle.timestamp}, 0)
        except TimerIllegal:
            at_ms = -1
        if not 0 < at_ms - broker.clock.now_ms() < config.timer_max_delay_sec * 1000:
            raise BrokerError(ResponseCode.ILLEGAL_OPERATION, "recall failed, timestamp invalid")
        return handle

    async def _store_mark(self, ctx: RequestContext, header: RecallMessageRequestHeader, handle: RecallHandle) -> None:
        """Raises: BrokerError."""
        broker = self._broker
        now_ms = broker.clock.now_ms()
        properties = mark_properties(
            handle.topic,
            handle.unique_key,
            now_ms=now_ms,
            with_topic=broker.config.append_topic_for_timer_delete_key,
        )
        properties[message_const.TIMER_DELIVER_MS] = handle.timestamp
        if header.producer_group:
            properties[message_const.PRODUCER_GROUP] = header.producer_group
        try:
            topic, queue_id = place_timed(broker, properties, handle.topic, 0)
            message = StoreMessage(
                topic=topic,
                queue_id=queue_id,
                body=b"0",
                properties=encoded(properties),
                born_timestamp=now_ms,
                born_host=split_address(ctx.channel.remote_address),
                store_host=broker.store_host,
            )
            result = await put(broker, [message])
        except BrokerError:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, "recall failed, execute error") from None
        if result.status not in put_answer.STORED_CODES or not result.records:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, "recall failed, execute error")
        if result.status is PutStatus.PUT_OK:
            broker.stats.topic_put(handle.topic, 0, len(result.records), sum(record.size for record in result.records))
