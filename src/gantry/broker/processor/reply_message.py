"""SEND_REPLY_MESSAGE (324), SEND_REPLY_MESSAGE_V2 (325): the answer to a request message, pushed to the client that asked."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, RemotingError
from gantry.model import StoreMessage, message_const
from gantry.protocol.message.message_id import offset_msg_id
from gantry.protocol.message.properties import decode_properties
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.reply_message import ReplyMessageRequestHeader
from gantry.protocol.remoting.header.send_message import SendMessageRequestHeader, SendMessageResponseHeader
from gantry.protocol.remoting.header.send_message_v2 import SendMessageRequestHeaderV2
from gantry.runtime.address import split_address

from ..metrics import NORMAL
from . import put_answer
from .call_consumer import CALL_TIMEOUT_MS
from .send_message import SendMessageProcessor, encoded, put, tell_region, waits_for_store

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)

NOT_STORED_MSG_ID = "0"


class ReplyMessageProcessor:
    """Pushes the reply over the connection of the producer that its property REPLY_TO_CLIENT names, then stores it.

    The push decides the answer: a reply that reached its client is a success whether it could be stored or not, and one
    that did not is none although it is stored. Source: ReplyMessageProcessor (5.5), which loses the flag of a compressed
    body where it stores it; here it is kept.
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker
        self._sends = SendMessageProcessor(broker)

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: SendMessageRequestHeader | SendMessageRequestHeaderV2
    ) -> RemotingCommand:
        sent = header.to_v1() if isinstance(header, SendMessageRequestHeaderV2) else header
        try:
            response = await self._reply(ctx, request, sent)
        except BrokerError as refused:
            response = request.reply(refused.response_code, refused.remark)
        tell_region(self._broker, response)
        return response

    async def _reply(self, ctx: RequestContext, request: RemotingCommand, header: SendMessageRequestHeader) -> RemotingCommand:
        broker = self._broker
        topic = await self._sends.check(ctx, header)
        if len(request.body) > broker.config.max_message_size:
            # It could be pushed, but nobody checks what he gets that way.
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, put_answer.message_illegal(broker))
        queue_id = self._sends.queue_id(header, topic)
        properties = decode_properties(header.properties) if header.properties else {}
        failure = await self._push(ctx, header, properties, request.body)
        answer = SendMessageResponseHeader(msg_id=NOT_STORED_MSG_ID, queue_id=queue_id, queue_offset=0)
        if broker.config.store_reply_message_enable:
            message = StoreMessage(
                topic=topic.topic_name,
                queue_id=queue_id,
                body=request.body,
                properties=encoded(properties),
                flag=header.flag,
                sys_flag=header.sys_flag,
                born_timestamp=header.born_timestamp,
                born_host=split_address(ctx.channel.remote_address),
                store_host=broker.store_host,
                reconsume_times=header.reconsume_times or 0,
                wait_store_ok=waits_for_store(properties),
            )
            await self._store(message, answer)
        if failure is not None:
            return request.reply(ResponseCode.SYSTEM_ERROR, failure, header=answer)
        return request.reply(ResponseCode.SUCCESS, header=answer)

    async def _push(
        self, ctx: RequestContext, header: SendMessageRequestHeader, properties: dict[str, str], body: bytes
    ) -> str | None:
        """Why the reply did not reach its client; None when it did. The time of the push joins the properties."""
        broker = self._broker
        client_id = properties.get(message_const.MESSAGE_REPLY_TO_CLIENT)
        if client_id is None:
            return f"reply message properties[{message_const.MESSAGE_REPLY_TO_CLIENT}] is null"
        channel = broker.producers.find_channel(client_id)
        if channel is None:
            return f"push reply message fail, channel of <{client_id}> not found."
        now_ms = broker.clock.now_ms()
        properties[message_const.PUSH_REPLY_TIME] = str(now_ms)
        pushed = ReplyMessageRequestHeader(
            producer_group=header.producer_group,
            topic=header.topic,
            default_topic=header.default_topic,
            default_topic_queue_nums=header.default_topic_queue_nums,
            queue_id=header.queue_id,
            sys_flag=header.sys_flag,
            born_timestamp=header.born_timestamp,
            flag=header.flag,
            properties=encoded(properties).decode("utf-8", "surrogatepass"),
            reconsume_times=header.reconsume_times,
            unit_mode=header.unit_mode,
            born_host=ctx.channel.remote_address,
            store_host=broker.address,
            store_timestamp=now_ms,
        )
        try:
            answer = await channel.invoke(RemotingCommand.request(pushed, body), CALL_TIMEOUT_MS)
        except RemotingError as error:
            log.warning("reply to client %s at %s was not pushed: %s", client_id, channel.remote_address, error)
            return f"push reply message to {client_id}fail."
        if answer.code != ResponseCode.SUCCESS:
            log.warning("client %s at %s refused a reply: %d %s", client_id, channel.remote_address, answer.code, answer.remark)
            return f"push reply message to {client_id}fail."
        return None

    async def _store(self, message: StoreMessage, answer: SendMessageResponseHeader) -> None:
        """Writes the place into `answer`; a reply that cannot be stored is logged, and the answer says no place."""
        broker = self._broker
        try:
            result = await put(broker, [message])
            if result.status not in put_answer.STORED_CODES or not result.records:
                raise BrokerError(*put_answer.refusal(result.status, broker, result.remark))
        except BrokerError as refused:
            log.warning("a reply in topic %s is not stored: %s", message.topic, refused.remark)
            return
        record = result.records[0]
        broker.stats.topic_put(message.topic, message.queue_id, 1, record.size)
        broker.metrics.message_in(message.topic, NORMAL, 1, record.size)
        answer.msg_id = offset_msg_id(broker.store_host, record.physical_offset)
        answer.queue_offset = record.queue_offset
