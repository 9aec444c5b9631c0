"""Request and reply over topics: questions that wait for their answer, and the answer as a message.

Source: DefaultMQProducerImpl.request, MessageUtil, ClientRemotingProcessor.receiveReplyMessage (5.3).
"""

from __future__ import annotations

import asyncio
import logging

from gantry.errors import ClientError, RemotingTimeout
from gantry.model import Message, MessageExt, message_const
from gantry.model.names import REPLY_MESSAGE_FLAG, reply_topic
from gantry.protocol.message import decode_properties
from gantry.protocol.remoting.header.reply_message import ReplyMessageRequestHeader
from gantry.runtime.address import split_address
from gantry.runtime.clock import Clock

from .message_decoding import inflate

logger = logging.getLogger(__name__)


def as_request(message: Message, *, correlation_id: str, client_id: str, timeout_ms: int) -> Message:
    """A copy that says who waits for the answer, for how long, and under which number."""
    properties = {
        **message.properties,
        message_const.CORRELATION_ID: correlation_id,
        message_const.MESSAGE_REPLY_TO_CLIENT: client_id,
        message_const.MESSAGE_TTL: str(timeout_ms),
    }
    return Message(topic=message.topic, body=message.body, flag=message.flag, properties=properties)


def reply_to(request: MessageExt, body: bytes) -> Message:
    """The answer to a message that came from `Producer.request`, of any client; hand it to a producer's send().

    Raises: ClientError when nobody waits for an answer to this message.
    """
    asked = {name: request.properties.get(name) for name in _ASKED}
    missing = [name for name, value in asked.items() if value is None]
    if missing:
        raise ClientError(
            f"message {request.msg_id} of topic {request.topic} asks for no reply: it lacks {' and '.join(missing)}"
        )
    properties = {name: value for name, value in asked.items() if value is not None and name != message_const.CLUSTER}
    properties[message_const.MESSAGE_TYPE] = REPLY_MESSAGE_FLAG
    ttl = request.properties.get(message_const.MESSAGE_TTL)
    if ttl is not None:
        properties[message_const.MESSAGE_TTL] = ttl
    return Message(topic=reply_topic(request.properties[message_const.CLUSTER]), body=body, properties=properties)


_ASKED = (message_const.CLUSTER, message_const.CORRELATION_ID, message_const.MESSAGE_REPLY_TO_CLIENT)


class PendingReplies:
    """Questions under way in one client, by correlation id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, asyncio.Future[MessageExt]] = {}

    def expect(self, correlation_id: str) -> None:
        """To be called before the question goes out."""
        self._waiting[correlation_id] = asyncio.get_running_loop().create_future()

    async def wait(self, correlation_id: str, timeout_ms: float) -> MessageExt:
        """Raises: RemotingTimeout; the answer may come, and nobody waits for it any more."""
        future = self._waiting[correlation_id]

        def too_late() -> None:
            if not future.done():
                future.set_exception(
                    RemotingTimeout(f"request {correlation_id} was sent and no reply came in time; it may have been consumed")
                )

        timer = self._clock.call_later(max(0, timeout_ms), too_late)
        try:
            return await future
        finally:
            timer.cancel()

    def forget(self, correlation_id: str) -> None:
        self._waiting.pop(correlation_id, None)

    def arrived(self, header: ReplyMessageRequestHeader, body: bytes) -> None:
        """A broker pushed a reply. Raises: RemoteProtocolError when it cannot be read."""
        properties = decode_properties(header.properties) if header.properties else {}
        properties[message_const.REPLY_MESSAGE_ARRIVE_TIME] = str(self._clock.now_ms())
        message = MessageExt(
            topic=header.topic,
            body=body,
            flag=header.flag,
            properties=properties,
            queue_id=header.queue_id,
            sys_flag=header.sys_flag,
            born_timestamp=header.born_timestamp,
            born_host=split_address(header.born_host),
            store_timestamp=header.store_timestamp,
            store_host=split_address(header.store_host),
            reconsume_times=header.reconsume_times or 0,
            msg_id=properties.get(message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX, ""),
        )
        inflate(message)
        correlation_id = properties.get(message_const.CORRELATION_ID, "")
        future = self._waiting.get(correlation_id)
        if future is None or future.done():
            logger.warning("a reply from %s came too late or twice, correlation id %s", header.born_host, correlation_id)
            return
        future.set_result(message)
