"""The engine in pure Python: bytes of a connection in, a plan out. It makes no system call and keeps no state of its own.

A send is common when its topic is known and ordinary, its queue is in range, its unique key is there, and none of the
properties stand in it that make the broker do more than append. Whether that is so is told by looking for names in the
property text; a name inside a value is found, too, and merely sends the frame the long way round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gantry.errors import MessageIllegal, RemoteProtocolError
from gantry.model import StoreMessage, message_const, perm_name, sys_flag, topic_config, topic_validator
from gantry.protocol.message.batch import decode_batch, join_properties
from gantry.protocol.message.properties import find_property
from gantry.protocol.remoting.codes import CURRENT_VERSION, LanguageCode, RequestCode
from gantry.protocol.remoting.command import FLAG_RESPONSE, SERIALIZE_JSON, RemotingCommand, decode_frame, encode_command
from gantry.protocol.remoting.frame import PREFIX_BYTES, Frame, FrameDecoder
from gantry.protocol.remoting.header.send_message import SendMessageRequestHeader
from gantry.protocol.remoting.header.send_message_v2 import SendMessageRequestHeaderV2

if TYPE_CHECKING:
    from gantry.model import Host
    from gantry.store import AppendPlan, PlannedRecord

    from ..context import BrokerContext

BATCH_COUNT_MAX = 4096

_INT64_END = 1 << 63

_SEND = int(RequestCode.SEND_MESSAGE)
_SEND_V2 = int(RequestCode.SEND_MESSAGE_V2)
_SEND_BATCH = int(RequestCode.SEND_BATCH_MESSAGE)
_SEND_CODES = frozenset({_SEND, _SEND_V2, _SEND_BATCH})
_BINARY_CODES = tuple(code.to_bytes(2, "big") for code in sorted(_SEND_CODES))
_JSON_CODES = (b'"code":310', b'"code":320', b'"code":10,', b'"code":10}')

_RARE_FLAGS = sys_flag.TRANSACTION_MASK | sys_flag.INNER_BATCH | sys_flag.NEED_UNWRAP
_UNIQ = message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX.encode()
_UNIQ_NAME = _UNIQ + b"\x01"
_WAIT_NAME = message_const.WAIT_STORE_MSG_OK.encode() + b"\x01"
_WAIT = message_const.WAIT_STORE_MSG_OK.encode()
# `TIMER_D` begins all three names by which a sender asks for a time.
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
        "TIMER_D",
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


class HotPlan:
    """What one read asks for.

    `frames` are left to others; `store_plan` is what is to be written, None for nothing; `failure` is what was wrong
    with the bytes behind the frames. `replies` waits for commit or abort.
    """

    __slots__ = ("failure", "frames", "message_count", "replies", "store_plan", "topics")

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.store_plan: AppendPlan | None = None
        self.failure: RemoteProtocolError | None = None
        self.replies: list[_Reply] = []
        self.message_count = 0
        self.topics: list[tuple[str, int, int, int]] = []
        """(topic, queue id, messages, bytes) per send, for the counters."""


class HotEngine:
    """One per broker. Topics, queues and settings stay with their owners and are read where they are."""

    name = "python"

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker
        self._suffix_of: tuple[str, bool, str] | None = None
        self._suffix = b""

    def ingest(self, decoder: FrameDecoder, born_host: Host, data: bytes) -> HotPlan:
        """Cuts frames and lays out the common sends.

        Raises: RemoteProtocolError when the bytes begin with something that is no frame; behind whole frames it is
        left in the plan's `failure`.
        """
        plan = HotPlan()
        decoder.receive_data(data)
        accepting = self._accepting()
        try:
            while (frame := decoder.next_frame()) is not None:
                if not (accepting and _may_be_send(frame) and self._send(plan, frame, born_host)):
                    plan.frames.append(frame)
        except RemoteProtocolError as error:
            if not plan.frames and plan.store_plan is None:
                raise
            plan.failure = error
        return plan

    def replies(self, plan: HotPlan, *, waiting: bool | None, code: int, remark: str | None = None) -> list[bytes]:
        """The answers of a plan: all of them (`waiting` None), or those that wait for the disk, or those that do not.

        `code` is how the messages were stored; with a `remark` they were not, and the answers carry no place.
        """
        chosen = [reply for reply in plan.replies if waiting is None or reply.waits is waiting]
        if remark is None:
            return [self._stored(reply, code) for reply in chosen]
        return [self._refused(reply, code, remark) for reply in chosen]

    # -- inside

    def _accepting(self) -> bool:
        """Whether any send may take the short way now."""
        broker = self._broker
        config = broker.config
        if (
            config.start_accept_send_request_time_stamp
            or not perm_name.is_writeable(config.broker_permission)
            or broker.replicas.too_few
            or broker.waiting_sends.full
            or broker.store.writable_reason() is not None
        ):
            return False
        wanted = (config.region_id, config.trace_on, config.broker_cluster_name)
        if wanted != self._suffix_of:
            region, trace, cluster = wanted
            trace_text = "true" if trace else "false"
            self._suffix = (
                f"{message_const.MSG_REGION}\x01{region}\x02{message_const.TRACE_SWITCH}\x01{trace_text}\x02"
                f"{message_const.CLUSTER}\x01{cluster}\x02"
            ).encode()
            self._suffix_of = wanted
        return True

    def _send(self, plan: HotPlan, frame: Frame, born_host: Host) -> bool:
        """Lays out one send; False leaves the frame to others, and the plan as it was."""
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
            born_timestamp = int(fields[names.born_timestamp])
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
            or flags & _RARE_FLAGS
            or not 0 <= born_timestamp < _INT64_END
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
        properties += self._suffix
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
        store_plan = plan.store_plan or broker.store.new_plan()
        plan.store_plan = store_plan
        try:
            records = [store_plan.add(messages[0])] if len(messages) == 1 else store_plan.add_batch(messages)
        except MessageIllegal:
            return False
        plan.message_count += len(records)
        plan.topics.append((name, queue_id, len(records), sum(record.size for record in records)))
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

    def _stored(self, reply: _Reply, code: int) -> bytes:
        records = reply.records
        msg_id = records[0].offset_msg_id if len(records) == 1 else ",".join([record.offset_msg_id for record in records])
        region, trace, _ = self._suffix_of or ("", False, "")
        if reply.serialize_type == SERIALIZE_JSON and _plain(reply.unique_key) and _plain(region):
            header = (
                f'{{"code":{code},"extFields":{{"MSG_REGION":"{region}","TRACE_ON":"{"true" if trace else "false"}",'
                f'"msgId":"{msg_id}","queueId":"{reply.queue_id}","queueOffset":"{records[0].queue_offset}",'
                f'"transactionId":"{reply.unique_key}"}},"flag":1,"language":"{LanguageCode.PYTHON.name}","opaque":{reply.opaque},'
                f'"serializeTypeCurrentRPC":"JSON","version":{CURRENT_VERSION}}}'
            ).encode()
            size = len(header)
            return b"%b%b%b" % ((size + PREFIX_BYTES - 4).to_bytes(4, "big"), size.to_bytes(4, "big"), header)
        fields = {
            "msgId": msg_id,
            "queueId": str(reply.queue_id),
            "queueOffset": str(records[0].queue_offset),
            "transactionId": reply.unique_key,
        }
        return self._encoded(reply, code, None, fields)

    def _refused(self, reply: _Reply, code: int, remark: str) -> bytes:
        return self._encoded(reply, code, remark, {})

    def _encoded(self, reply: _Reply, code: int, remark: str | None, fields: dict[str, str]) -> bytes:
        region, trace, _ = self._suffix_of or ("", False, "")
        fields[message_const.MSG_REGION] = region
        fields[message_const.TRACE_SWITCH] = "true" if trace else "false"
        return encode_command(
            RemotingCommand(
                code,
                opaque=reply.opaque,
                flag=FLAG_RESPONSE,
                remark=remark,
                ext_fields=fields,
                serialize_type=reply.serialize_type,
            )
        )


def _number(text: str) -> int:
    """A number of at most nine plain digits, which fits 32 bits however it is used. Raises: ValueError otherwise."""
    if len(text) > 9 or not (text.isdecimal() and text.isascii()):
        raise ValueError(text)
    return int(text)


def _plain(text: str) -> bool:
    """Stands in a JSON string as it is."""
    return text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def _may_be_send(frame: Frame) -> bool:
    """Cheap: most other frames are not decoded twice."""
    header = frame.header
    if frame.serialize_type == SERIALIZE_JSON:
        return any(code in header for code in _JSON_CODES) or b'"code": ' in header
    return header[:2] in _BINARY_CODES
