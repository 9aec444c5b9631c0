"""The engine in pure Python: bytes of a connection in, a plan out. It makes no system call and keeps no state of its own.

A send is common when its topic is known and ordinary, its queue is in range, its unique key is there, and none of the
properties stand in it that make the broker do more than append. Whether that is so is told by looking for names in the
property text; a name inside a value is found, too, and merely sends the frame the long way round.
"""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING, NamedTuple

from gantry.errors import MessageIllegal, RemoteProtocolError
from gantry.model import StoreMessage, message_const, sys_flag, topic_config, topic_validator
from gantry.protocol.message.batch import decode_batch, join_properties
from gantry.protocol.message.message_id import encode_host
from gantry.protocol.message.properties import find_property
from gantry.protocol.remoting.codes import CURRENT_VERSION, LanguageCode, RequestCode
from gantry.protocol.remoting.command import (
    FLAG_RESPONSE,
    SERIALIZE_JSON,
    SERIALIZE_ROCKETMQ,
    RemotingCommand,
    decode_frame,
    encode_command,
)
from gantry.protocol.remoting.frame import PREFIX_BYTES, Frame, FrameDecoder
from gantry.protocol.remoting.header.send_message import SendMessageRequestHeader
from gantry.protocol.remoting.header.send_message_v2 import SendMessageRequestHeaderV2

from .gates import sends_are_common

if TYPE_CHECKING:
    from gantry.model import Host
    from gantry.runtime.channel import Channel
    from gantry.store import AppendPlan, PlannedRecord

    from ..context import BrokerContext
    from ..long_polling import HeldPull

BATCH_COUNT_MAX = 4096

_ANSWER_HEAD = struct.Struct(">IIhbhiiii")

_SEND = int(RequestCode.SEND_MESSAGE)
_SEND_V2 = int(RequestCode.SEND_MESSAGE_V2)
_SEND_BATCH = int(RequestCode.SEND_BATCH_MESSAGE)
_SEND_CODES = frozenset({_SEND, _SEND_V2, _SEND_BATCH})
_BINARY_CODES = tuple(code.to_bytes(2, "big") for code in sorted(_SEND_CODES))
_JSON_CODES = (b'"code":310', b'"code":320', b'"code":10,', b'"code":10}')

RARE_FLAGS = sys_flag.TRANSACTION_MASK | sys_flag.INNER_BATCH | sys_flag.NEED_UNWRAP
_UNIQ = message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX.encode()
_UNIQ_NAME = _UNIQ + b"\x01"
_WAIT_NAME = message_const.WAIT_STORE_MSG_OK.encode() + b"\x01"
_WAIT = message_const.WAIT_STORE_MSG_OK.encode()
_RARE_NAMES = tuple(
    name.encode()
    for name in (
        message_const.DELAY_TIME_LEVEL + "\x01",
        message_const.TRANSACTION_PREPARED + "\x01",
        message_const.POP_CK + "\x01",
        message_const.INNER_NUM + "\x01",
        message_const.CLUSTER + "\x01",
        message_const.MSG_REGION + "\x01",
        message_const.TRACE_SWITCH + "\x01",
        message_const.TIMER_DELAY_MS + "\x01",
        message_const.TIMER_DELAY_SEC + "\x01",
        message_const.TIMER_DELIVER_MS + "\x01",
    )
)


class _Names(NamedTuple):
    """Wire names of a send's fields; `required` are those whose absence the processors answer."""

    topic: str
    queue_id: str
    sys_flag: str
    born_timestamp: str
    flag: str
    properties: str
    reconsume_times: str
    batch: str
    queue_nums: str
    max_reconsume_times: str
    required: frozenset[str]


_LONG_NAMES = _Names(
    "topic",
    "queueId",
    "sysFlag",
    "bornTimestamp",
    "flag",
    "properties",
    "reconsumeTimes",
    "batch",
    "defaultTopicQueueNums",
    "maxReconsumeTimes",
    frozenset(spec.wire_name for spec in SendMessageRequestHeader.FIELDS if spec.required),
)
_SHORT_NAMES = _Names(
    "b",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    "m",
    "d",
    "l",
    frozenset(spec.wire_name for spec in SendMessageRequestHeaderV2.FIELDS if spec.required),
)


class _Reply:
    """What is to be said to one send once its plan is real."""

    __slots__ = ("opaque", "queue_id", "records", "serialize_type", "unique_key", "waits")

    def __init__(
        self, opaque: int, serialize_type: int, queue_id: int, records: list[PlannedRecord], unique_key: str, waits: bool
    ) -> None:
        self.opaque = opaque
        self.serialize_type = serialize_type
        self.queue_id = queue_id
        self.records = records
        self.unique_key = unique_key
        self.waits = waits


class SendSuffix:
    """What this broker adds to the properties of each message, and says in each answer; settings may change it."""

    __slots__ = (
        "_seen",
        "answer_fields",
        "is_plain",
        "properties",
        "region",
        "region_bytes",
        "store_host",
        "store_host_hex",
        "trace_bytes",
    )

    def __init__(self, seen: tuple[str, bool, str, Host] = ("", False, "", ("", 0))) -> None:
        self._seen = seen
        region, trace, cluster, host = seen
        self.region = region
        self.region_bytes = region.encode()
        self.trace_bytes = b"true" if trace else b"false"
        self.properties = b"%b\x01%b\x02%b\x01%b\x02%b\x01%b\x02" % (
            message_const.MSG_REGION.encode(),
            self.region_bytes,
            message_const.TRACE_SWITCH.encode(),
            self.trace_bytes,
            message_const.CLUSTER.encode(),
            cluster.encode(),
        )
        self.is_plain = _plain(region)
        self.store_host: bytes | None = None
        with contextlib.suppress(ValueError, OverflowError):
            self.store_host = encode_host(host)
        self.store_host_hex = (self.store_host or b"").hex().upper()
        self.answer_fields = b"".join(
            len(name).to_bytes(2, "big") + name + len(value).to_bytes(4, "big") + value
            for name, value in (
                (message_const.MSG_REGION.encode(), self.region_bytes),
                (message_const.TRACE_SWITCH.encode(), self.trace_bytes),
            )
        )

    def of(self, broker: BrokerContext) -> SendSuffix:
        """The one of the broker as it is now."""
        config = broker.config
        seen = (config.region_id, config.trace_on, config.broker_cluster_name, broker.store_host)
        return self if seen == self._seen else SendSuffix(seen)


def encoded_answer(
    suffix: SendSuffix, opaque: int, serialize_type: int, code: int, remark: str | None, fields: dict[str, str]
) -> bytes:
    """An answer to a send as the codecs write it."""
    fields[message_const.MSG_REGION] = suffix.region
    fields[message_const.TRACE_SWITCH] = suffix.trace_bytes.decode()
    return encode_command(
        RemotingCommand(
            code, opaque=opaque, flag=FLAG_RESPONSE, remark=remark, ext_fields=fields, serialize_type=serialize_type
        )
    )


def _binary_answer(suffix: SendSuffix, reply: _Reply, code: int, msg_id: bytes) -> bytes:
    """The bytes that encoded_answer() gives, put together in one go."""
    queue_id = b"%d" % reply.queue_id
    queue_offset = b"%d" % reply.records[0].queue_offset
    unique_key = reply.unique_key.encode(errors="replace")
    fields = b"\x00\x05msgId%b%b\x00\x07queueId%b%b\x00\x0bqueueOffset%b%b\x00\x0dtransactionId%b%b%b" % (
        len(msg_id).to_bytes(4, "big"),
        msg_id,
        len(queue_id).to_bytes(4, "big"),
        queue_id,
        len(queue_offset).to_bytes(4, "big"),
        queue_offset,
        len(unique_key).to_bytes(4, "big"),
        unique_key,
        suffix.answer_fields,
    )
    size = _ANSWER_HEAD.size + len(fields)
    return (
        _ANSWER_HEAD.pack(
            size - 4,
            size - PREFIX_BYTES | SERIALIZE_ROCKETMQ << 24,
            code,
            LanguageCode.PYTHON,
            CURRENT_VERSION,
            reply.opaque,
            FLAG_RESPONSE,
            0,
            len(fields),
        )
        + fields
    )


class HotPlan:
    """The common sends of one turn of the loop, of all connections.

    `store_plan` is what is to be written, None for nothing yet. `sections` has, for each read with sends that want an answer,
    (channel, first reply, end of its replies). `topics` has (topic, queue id, messages, bytes, requests) for the counters.
    `failure` is what was wrong with the bytes behind the frames of the last read.
    """

    __slots__ = ("failure", "message_count", "replies", "sections", "store_plan", "suffix", "topics")

    def __init__(self) -> None:
        self.store_plan: AppendPlan | None = None
        self.failure: RemoteProtocolError | None = None
        self.message_count = 0
        self.replies: list[_Reply] = []
        self.sections: list[tuple[Channel, int, int]] = []
        self.topics: list[tuple[str, int, int, int, int]] = []
        self.suffix: SendSuffix | None = None
        """Set when the first send of the plan may take the short way."""

    @property
    def log_bytes(self) -> int:
        """How long the plan is."""
        return 0 if self.store_plan is None else self.store_plan.end - self.store_plan.start

    @property
    def waiting_count(self) -> int:
        """How many of them asked to wait for disk and copies."""
        return sum(reply.waits for reply in self.replies)

    def answers(self, first: int, end: int, waiting: bool | None, code: int, remark: str | None = None) -> bytes:
        """Answers of a section: all of them (`waiting` None), or those that wait for the disk, or those that do not.

        `code` is how the messages were stored; with a `remark` they were not, and the answers carry no place.
        """
        suffix = self.suffix
        assert suffix is not None
        chosen = [reply for reply in self.replies[first:end] if waiting is None or reply.waits is waiting]
        if remark is None:
            return b"".join([self._stored(reply, suffix, code) for reply in chosen])
        return b"".join([encoded_answer(suffix, reply.opaque, reply.serialize_type, code, remark, {}) for reply in chosen])

    def _stored(self, reply: _Reply, suffix: SendSuffix, code: int) -> bytes:
        records = reply.records
        host = suffix.store_host_hex
        # As record.offset_msg_id has it; the host is the broker's for all of them.
        msg_id = ",".join([f"{host}{record.physical_offset:016X}" for record in records])
        if reply.serialize_type == SERIALIZE_JSON and suffix.is_plain and _plain(reply.unique_key):
            header = (
                f'{{"code":{code},"extFields":{{"MSG_REGION":"{suffix.region}","TRACE_ON":"{suffix.trace_bytes.decode()}",'
                f'"msgId":"{msg_id}","queueId":"{reply.queue_id}","queueOffset":"{records[0].queue_offset}",'
                f'"transactionId":"{reply.unique_key}"}},"flag":1,"language":"{LanguageCode.PYTHON.name}","opaque":{reply.opaque},'
                f'"serializeTypeCurrentRPC":"JSON","version":{CURRENT_VERSION}}}'
            ).encode()
            size = len(header)
            return b"%b%b%b" % ((size + PREFIX_BYTES - 4).to_bytes(4, "big"), size.to_bytes(4, "big"), header)
        if reply.serialize_type == SERIALIZE_ROCKETMQ:
            return _binary_answer(suffix, reply, code, msg_id.encode())
        fields = {
            "msgId": msg_id,
            "queueId": str(reply.queue_id),
            "queueOffset": str(records[0].queue_offset),
            "transactionId": reply.unique_key,
        }
        return encoded_answer(suffix, reply.opaque, reply.serialize_type, code, None, fields)


class HotEngine:
    """One per broker. Topics, queues and settings stay with their owners and are read where they are."""

    name = "python"

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker
        self._suffix = SendSuffix()
        self._counts: dict[tuple[str, int], list[int]] = {}
        self._totals = [0, 0, 0, 0, 0]

    def count(self, plan: HotPlan) -> None:
        """The plan is stored: what it holds is counted, until somebody takes the counts."""
        totals = self._totals
        for topic, queue_id, messages, size, requests in plan.topics:
            row = self._counts.setdefault((topic, queue_id), [0, 0, 0])
            row[0] += messages
            row[1] += size
            row[2] += requests
            totals[0] += messages
            totals[1] += size
            totals[2] += requests
            if self._broker.topics.is_system_topic(topic):
                totals[3] += messages
                totals[4] += requests

    def take_totals(self) -> tuple[int, ...]:
        """Messages, bytes and requests since the last call; messages and requests of system topics among them."""
        totals, self._totals = self._totals, [0, 0, 0, 0, 0]
        return tuple(totals)

    def take_counts(self) -> list[tuple[str, int, int, int, int]]:
        """Topic, queue id, messages, bytes and requests since the last call."""
        counts, self._counts = self._counts, {}
        return [(topic, queue_id, row[0], row[1], row[2]) for (topic, queue_id), row in counts.items()]

    def take_gets(self) -> list[tuple[str, str, int, int, int, int]]:
        """Of pulls that the engine answers itself, which this twin never does."""
        return []

    def decoder(self, frame_bytes_max: int, header_bytes_max: int) -> FrameDecoder:
        """What keeps the bytes of one connection."""
        return FrameDecoder(frame_bytes_max, header_bytes_max)

    def answer_held(self, held: HeldPull) -> bytes | None:
        """The whole frame of the answer to a pull that waited; None leaves it to the processor, as this twin always does."""
        return None

    def plan(self) -> HotPlan:
        """An empty plan."""
        return HotPlan()

    def ingest(self, plan: HotPlan, decoder: FrameDecoder, channel: Channel, data: bytes) -> list[Frame]:
        """Cuts frames, lays out the common sends in the plan, and returns the others.

        Raises: RemoteProtocolError when the bytes begin with something that is no frame; behind whole frames it is
                left in the plan's `failure`.
        """
        decoder.receive_data(data)
        frames: list[Frame] = []
        first, messages = len(plan.replies), plan.message_count
        born_host = (channel.remote_host, channel.remote_port)
        try:
            while (frame := decoder.next_frame()) is not None:
                if not (_may_be_send(frame) and self._accepts(plan) and self._send(plan, frame, born_host)):
                    frames.append(frame)
        except RemoteProtocolError as error:
            if not frames and plan.message_count == messages:
                raise
            plan.failure = error
        finally:
            end = len(plan.replies)
            if end > first:
                plan.sections.append((channel, first, end))
        return frames

    # -- inside

    def _accepts(self, plan: HotPlan) -> bool:
        if plan.suffix is None:
            if not sends_are_common(self._broker):
                return False
            self._suffix = self._suffix.of(self._broker)
            if self._suffix.store_host is None:
                return False
            plan.suffix = self._suffix
        return True

    def _send(self, plan: HotPlan, frame: Frame, born_host: Host) -> bool:
        """Lays out one send; False leaves the frame to others, and the plan as it was."""
        suffix = plan.suffix
        assert suffix is not None
        try:
            request = decode_frame(frame)
        except RemoteProtocolError:
            return False  # the processors, too, will find out, and end the connection
        code, fields = request.code, request.ext_fields
        if code not in _SEND_CODES or fields is None or request.is_response:
            return False
        names = _LONG_NAMES if code == _SEND else _SHORT_NAMES
        try:
            name, properties_text = fields[names.topic], fields[names.properties]
            queue_id = _number(fields[names.queue_id])
            flags = _number(fields[names.sys_flag])
            flag = _number(fields[names.flag])
            reconsume_times = _number(fields.get(names.reconsume_times, "0"))
            born_timestamp = _number(fields[names.born_timestamp], 18)
            _number(fields[names.queue_nums])
            _number(fields.get(names.max_reconsume_times, "0"))
        except (KeyError, ValueError):
            return False  # missing, malformed or unusual: the processors know what to say
        broker = self._broker
        topic = broker.topics.table.get(name)
        if (
            topic is None
            or name[0] == "%"
            or (queue_id >= topic.write_queue_nums and queue_id >= topic.read_queue_nums)
            or topic.topic_filter_type != topic_config.SINGLE_TAG
            or flags & RARE_FLAGS
            or not properties_text
            or topic_validator.is_not_allowed_send_topic(name)
            or not fields.keys() >= names.required
        ):
            return False
        properties = properties_text.encode("utf-8", "surrogatepass")
        if _UNIQ_NAME not in properties:
            return False
        for rare in _RARE_NAMES:
            if rare in properties:
                return False
        waits = True
        if _WAIT_NAME in properties:
            wait = find_property(properties, _WAIT)
            waits = wait is None or wait.lower() == b"true"
        if properties[-1] != 2:
            properties += b"\x02"
        unique_key = find_property(properties, _UNIQ)
        if unique_key is None:
            return False
        properties += suffix.properties
        messages = [
            StoreMessage(
                name,
                queue_id,
                frame.body,
                properties,
                flag,
                flags,
                born_timestamp,
                born_host,
                broker.store_host,
                reconsume_times,
                0,
                waits,
            )
        ]
        if code == _SEND_BATCH or fields.get(names.batch, "").lower() == "true":
            members = self._members(frame.body, messages[0])
            if members is None:
                return False
            messages = members
        store_plan = plan.store_plan or broker.store.appender.new_plan()
        plan.store_plan = store_plan
        try:
            records = [store_plan.add(messages[0])] if len(messages) == 1 else store_plan.add_batch(messages)
        except MessageIllegal:
            return False
        plan.message_count += len(records)
        plan.topics.append((name, queue_id, len(records), sum(record.size for record in records), 1))
        if not request.is_oneway:
            plan.replies.append(
                _Reply(request.opaque, frame.serialize_type, queue_id, records, unique_key.decode("utf-8", "replace"), waits)
            )
        return True

    def _members(self, body: bytes, shared: StoreMessage) -> list[StoreMessage] | None:
        """The messages of a batch; None when there is anything unusual about it."""
        try:
            elements = decode_batch(body, count_max=BATCH_COUNT_MAX)
        except RemoteProtocolError:
            return None
        # A member that does not fit into a log file at all would end a batch half laid out.
        if not elements or len(body) > self._broker.config.mapped_file_size_commit_log >> 1:
            return None
        messages = []
        for flag, member_body, own in elements:
            for rare in _RARE_NAMES:
                if rare in own:
                    return None
            messages.append(shared._replace(body=member_body, flag=flag, properties=join_properties(own, shared.properties)))
        return messages


def _number(text: str, digits_max: int = 9) -> int:
    """A number of plain digits; nine of them fit 32 bits however it is used. Raises: ValueError otherwise."""
    if len(text) > digits_max or not (text.isdecimal() and text.isascii()):
        raise ValueError(text)
    return int(text)


def _plain(text: str) -> bool:
    """Stands in a JSON string as it is."""
    return text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def _may_be_send(frame: Frame) -> bool:
    """Cheap: most other frames are not decoded twice."""
    header = frame.header
    if frame.serialize_type == SERIALIZE_JSON:
        return any(code in header for code in _JSON_CODES) or b'"code": ' in header or b'"code" ' in header
    return header[:2] in _BINARY_CODES
