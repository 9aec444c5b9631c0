"""From the messages a user hands in to the request a broker takes: checks, ids, compression, headers. Pure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gantry.errors import ClientError
from gantry.model import Message, MessageQueue, message_const, sys_flag
from gantry.model.names import REPLY_MESSAGE_FLAG, is_retry_topic
from gantry.model.topic_validator import DEFAULT_TOPIC, is_not_allowed_send_topic, validate_topic
from gantry.protocol.message import BatchElement, UniqueIdMaker, encode_batch, encode_properties
from gantry.protocol.message.compression import compress_zlib
from gantry.protocol.remoting import RemotingCommand, RequestCode
from gantry.protocol.remoting.header.send_message_v2 import SendMessageRequestHeaderV2

from .doors import Doors

_NO_BATCH = (
    message_const.DELAY_TIME_LEVEL,
    message_const.TIMER_DELAY_MS,
    message_const.TIMER_DELAY_SEC,
    message_const.TIMER_DELIVER_MS,
)


class EncodingOptions(Protocol):
    """The producer options that shape a request."""

    @property
    def default_topic_queue_nums(self) -> int: ...

    @property
    def compress_over_bytes(self) -> int: ...

    @property
    def compress_level(self) -> int: ...

    @property
    def message_bytes_max(self) -> int: ...


@dataclass(frozen=True, slots=True)
class EncodedSend:
    """A message or batch ready to go; command() may be called again for another queue, the body is shared."""

    message_id: str
    topic: str
    group: str
    body: bytes
    properties: str
    flag: int
    sys_flag: int
    born_timestamp: int
    default_topic_queue_nums: int
    batch: bool = False
    reply: bool = False
    reconsume_times: int = 0
    max_reconsume_times: int | None = None

    def command(self, queue: MessageQueue) -> RemotingCommand:
        header = SendMessageRequestHeaderV2(
            a=self.group,
            b=self.topic,
            c=DEFAULT_TOPIC,
            d=self.default_topic_queue_nums,
            e=queue.queue_id,
            f=self.sys_flag,
            g=self.born_timestamp,
            h=self.flag,
            i=self.properties,
            j=self.reconsume_times,
            k=False,
            l=self.max_reconsume_times,
            m=self.batch,
            n=queue.broker_name,
        )
        command = RemotingCommand.request(header, self.body)
        if self.batch:
            command.code = RequestCode.SEND_BATCH_MESSAGE
        elif self.reply:
            command.code = RequestCode.SEND_REPLY_MESSAGE_V2
        return command


class MessageEncoder:
    """Makes EncodedSend values for one producer."""

    def __init__(self, *, group: str, options: EncodingOptions, ip: str, doors: Doors) -> None:
        self._group = group
        self._options = options
        self._clock = doors.clock
        seed = int.from_bytes(doors.rng.token(4), "big")
        self._ids = UniqueIdMaker(ip=ip.strip("[]"), pid=os.getpid(), seed=seed)

    def encode(self, message: Message) -> EncodedSend:
        """Raises: ClientError naming what is not allowed."""
        self._check(message)
        now_ms = self._clock.now_ms()
        message_id = self._set_unique_id(message, now_ms)
        properties = dict(message.properties)
        reconsume_times, max_reconsume_times = 0, None
        if is_retry_topic(message.topic):
            # A consumer that gives a message back by sending it tells the counts in the header, not in the message.
            reconsume_times = int(properties.pop(message_const.RECONSUME_TIME, "0"))
            text = properties.pop(message_const.MAX_RECONSUME_TIMES, None)
            max_reconsume_times = None if text is None else int(text)
        flags = 0
        if properties.get(message_const.TRANSACTION_PREPARED) == "true":
            flags |= sys_flag.TRANSACTION_PREPARED
        body = message.body
        if len(body) >= self._options.compress_over_bytes:
            body = compress_zlib(body, self._options.compress_level)
            flags |= sys_flag.COMPRESSED | sys_flag.COMPRESSION_ZLIB
        return EncodedSend(
            message_id=message_id,
            topic=message.topic,
            group=self._group,
            body=body,
            properties=_text(properties),
            flag=message.flag,
            sys_flag=flags,
            born_timestamp=now_ms,
            default_topic_queue_nums=self._options.default_topic_queue_nums,
            reply=properties.get(message_const.MESSAGE_TYPE) == REPLY_MESSAGE_FLAG,
            reconsume_times=reconsume_times,
            max_reconsume_times=max_reconsume_times,
        )

    def encode_batch(self, messages: Sequence[Message]) -> EncodedSend:
        """Raises: ClientError naming what is not allowed, and why these messages cannot travel in one batch."""
        if not messages:
            raise ClientError("a batch needs at least one message")
        first = messages[0]
        for message in messages:
            self._check(message)
            if message.topic != first.topic:
                raise ClientError(f"one batch, one topic: {message.topic} cannot travel with {first.topic}; send two batches")
            if is_retry_topic(message.topic):
                raise ClientError(f"retry topic {message.topic} takes no batches; send its messages one by one")
            if message.wait_store_msg_ok != first.wait_store_msg_ok:
                raise ClientError("one batch, one WAIT property: its messages are flushed together")
            if any(name in message.properties for name in _NO_BATCH):
                raise ClientError("delayed messages cannot travel in a batch; send them one by one")
        now_ms = self._clock.now_ms()
        ids = [self._set_unique_id(message, now_ms) for message in messages]
        body = encode_batch(
            BatchElement(message.flag, message.body, encode_properties(message.properties)) for message in messages
        )
        if len(body) > self._options.message_bytes_max:
            raise ClientError(
                f"batch of {len(messages)} messages is {len(body)} bytes, the limit is {self._options.message_bytes_max}; "
                f"split it, or raise message_bytes_max here and maxMessageSize at the broker"
            )
        wait = {} if first.wait_store_msg_ok else {message_const.WAIT_STORE_MSG_OK: "false"}
        return EncodedSend(
            message_id=",".join(ids),
            topic=first.topic,
            group=self._group,
            body=body,
            properties=_text(wait),
            flag=0,
            sys_flag=0,
            born_timestamp=now_ms,
            default_topic_queue_nums=self._options.default_topic_queue_nums,
            batch=True,
        )

    def _check(self, message: Message) -> None:
        remark = validate_topic(message.topic)
        if remark is not None:
            raise ClientError(remark)
        if is_not_allowed_send_topic(message.topic):
            raise ClientError(f"topic {message.topic} belongs to the broker itself; nobody else may send to it")
        if not message.body:
            raise ClientError(f"message of topic {message.topic} has an empty body; brokers refuse it")
        if len(message.body) > self._options.message_bytes_max:
            raise ClientError(
                f"body of {len(message.body)} bytes exceeds the limit of {self._options.message_bytes_max}; split the message, "
                f"or raise message_bytes_max here and maxMessageSize at the broker"
            )

    def _set_unique_id(self, message: Message, now_ms: int) -> str:
        """A message that is sent again keeps its id, so that consumers can tell."""
        name = message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX
        message_id = message.properties.get(name)
        if message_id is None:
            message_id = message.properties[name] = self._ids.next_id(now_ms)
        return message_id


def _text(properties: dict[str, str]) -> str:
    return encode_properties(properties).decode("utf-8", "surrogatepass")
