"""Plans of the pure engine, and the answers to what is in them."""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

from gantry.model import message_const
from gantry.protocol.message.message_id import encode_host
from gantry.protocol.remoting.codes import CURRENT_VERSION, LanguageCode, ResponseCode
from gantry.protocol.remoting.command import (
    FLAG_RESPONSE,
    SERIALIZE_JSON,
    SERIALIZE_ROCKETMQ,
    RemotingCommand,
    encode_command,
)
from gantry.protocol.remoting.frame import PREFIX_BYTES

from ..metrics.rpc import HOT_CODES
from ..transaction.endings import SERVICE_NOT_AVAILABLE as END_NOT_AVAILABLE
from ..transaction.planned import PlannedTransactions

if TYPE_CHECKING:
    from gantry.errors import RemoteProtocolError
    from gantry.model import Host
    from gantry.runtime.channel import Channel
    from gantry.store import AppendPlan
    from gantry.store.append import Target

    from ..context import BrokerContext

_ANSWER_HEAD = struct.Struct(">IIhbhiiii")
_OPAQUE_AT = 13
_PLACE = b"%016X"
_PLACE_SIZE = 16
_PATTERNS_MAX = 1024
_CODES = len(HOT_CODES)

ASK_FOR_MORE = frozenset(
    {
        message_const.POP_CK,
        message_const.INNER_NUM,
        message_const.CLUSTER,
        message_const.MSG_REGION,
        message_const.TRACE_SWITCH,
        message_const.PRIORITY,
    }
)
"""Properties that make the broker do more with a send than append it, now or later, or that it sets itself."""

Reply = tuple[bytes, int, int, int, int, bytes, bool]
"""What is to be said to one send once its plan is real: opaque as in a binary header, serialization, queue id, number of its
first record in the plan, how many it has (0: it is the end of a transaction), unique key (UTF-8), whether it waits for the
disk"""


class SendSuffix:
    """What this broker adds to the properties of each message, and says in each answer; settings may change it."""

    __slots__ = (
        "_seen",
        "answer_fields",
        "behind_open_pair",
        "is_plain",
        "patterns",
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
        self.behind_open_pair = b"\x02" + self.properties
        self.is_plain = _plain(region)
        self.store_host: bytes | None = None
        with contextlib.suppress(ValueError, OverflowError):
            self.store_host = encode_host(host)
        self.store_host_hex = (self.store_host or b"").hex().upper()
        self.patterns: dict[tuple[int, ...], bytes] = {}
        """Answers with holes, see _binary_pattern()."""
        self.answer_fields = b"".join(
            len(name).to_bytes(2, "big") + name + len(value).to_bytes(4, "big") + value
            for name, value in (
                (message_const.MSG_REGION.encode(), self.region_bytes),
                (message_const.TRACE_SWITCH.encode(), self.trace_bytes),
            )
        )

    def add_pattern(self, key: tuple[int, ...], pattern: bytes) -> bytes:
        if len(self.patterns) >= _PATTERNS_MAX:
            self.patterns.clear()
        self.patterns[key] = pattern
        return pattern

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


def _binary_answer(suffix: SendSuffix, reply: Reply, code: int, msg_id: bytes, digits: bytes) -> bytes:
    """The bytes that encoded_answer() gives, put together in one go. `digits` is the queue offset."""
    opaque, _, queue_number, _, _, unique_key, _ = reply
    queue_id = b"%d" % queue_number
    fields = b"\x00\x05msgId%b%b\x00\x07queueId%b%b\x00\x0bqueueOffset%b%b\x00\x0dtransactionId%b%b%b" % (
        len(msg_id).to_bytes(4, "big"),
        msg_id,
        len(queue_id).to_bytes(4, "big"),
        queue_id,
        len(digits).to_bytes(4, "big"),
        digits,
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
            int.from_bytes(opaque, "big", signed=True),
            FLAG_RESPONSE,
            0,
            len(fields),
        )
        + fields
    )


def _json_answer(
    suffix: SendSuffix,
    code: int,
    opaque: bytes,
    queue_id: int,
    digits: bytes,
    unique_key: bytes,
    msg_id: bytes,
    handle: str | None = None,
) -> bytes:
    """What encoded_answer() says, when nothing in it needs an escape. `opaque` and `digits` (the queue offset) are decimal."""
    recall_handle = b'"recallHandle":"%b",' % handle.encode() if handle is not None else b""
    header = (
        b'{"code":%d,"extFields":{"MSG_REGION":"%b","TRACE_ON":"%b","msgId":"%b","queueId":"%d","queueOffset":"%b",'
        b'%b"transactionId":"%b"},"flag":1,"language":"%b","opaque":%b,"serializeTypeCurrentRPC":"JSON","version":%d}'
    ) % (
        code,
        suffix.region_bytes,
        suffix.trace_bytes,
        msg_id,
        queue_id,
        digits,
        recall_handle,
        unique_key,
        LanguageCode.PYTHON.name.encode(),
        opaque,
        CURRENT_VERSION,
    )
    return b"%b%b%b" % ((len(header) + PREFIX_BYTES - 4).to_bytes(4, "big"), len(header).to_bytes(4, "big"), header)


def _binary_pattern(suffix: SendSuffix, code: int, queue_id: int, digits_size: int, unique_size: int) -> bytes:
    """The answer to a single send, with holes for opaque, physical offset, queue offset and unique key, in this order.

    Of these only the lengths stand elsewhere in it, so it serves all sends to a queue for a while.
    """
    reply: Reply = (bytes(4), SERIALIZE_ROCKETMQ, queue_id, 0, 1, b"?" * unique_size, True)
    msg_id = suffix.store_host_hex.encode() + b"?" * _PLACE_SIZE
    answer = _binary_answer(suffix, reply, code, msg_id, b"?" * digits_size)
    place_at = answer.index(msg_id) + len(msg_id) - _PLACE_SIZE
    digits_at = answer.index(b"queueOffset") + len(b"queueOffset") + 4
    unique_at = answer.index(b"transactionId") + len(b"transactionId") + 4
    return _with_holes(
        answer,
        (
            (_OPAQUE_AT, 4, b"%b"),
            (place_at, _PLACE_SIZE, _PLACE),
            (digits_at, digits_size, b"%b"),
            (unique_at, unique_size, b"%b"),
        ),
    )


def _json_pattern(suffix: SendSuffix, code: int, queue_id: int, digits_size: int, unique_size: int, opaque_size: int) -> bytes:
    """The same in JSON, with holes for physical offset, queue offset, unique key and opaque."""
    msg_id = suffix.store_host_hex.encode() + b"?" * _PLACE_SIZE
    digits, unique_key, opaque = b"?" * digits_size, b"?" * unique_size, b"?" * opaque_size
    answer = _json_answer(suffix, code, opaque, queue_id, digits, unique_key, msg_id)
    place_at = answer.index(b'"msgId":"') + len(b'"msgId":"') + len(msg_id) - _PLACE_SIZE
    digits_at = answer.index(b'"queueOffset":"') + len(b'"queueOffset":"')
    unique_at = answer.index(b'"transactionId":"') + len(b'"transactionId":"')
    opaque_at = answer.index(b'"opaque":') + len(b'"opaque":')
    return _with_holes(
        answer,
        (
            (place_at, _PLACE_SIZE, _PLACE),
            (digits_at, digits_size, b"%b"),
            (unique_at, unique_size, b"%b"),
            (opaque_at, opaque_size, b"%b"),
        ),
    )


def _with_holes(answer: bytes, holes: tuple[tuple[int, int, bytes], ...]) -> bytes:
    """A pattern for the % operator: each hole (where, how long, what fills it) in the place of the bytes that stand there."""
    parts = []
    at = 0
    for begin, size, filler in holes:
        parts += [answer[at:begin].replace(b"%", b"%%"), filler]
        at = begin + size
    parts.append(answer[at:].replace(b"%", b"%%"))
    return b"".join(parts)


def encoded_end_answer(opaque: int, serialize_type: int, code: int, remark: str | None = None) -> bytes:
    """An answer to the end of a transaction as the codecs write it."""
    if code == ResponseCode.SERVICE_NOT_AVAILABLE:
        remark = END_NOT_AVAILABLE
    return encode_command(
        RemotingCommand(code, opaque=opaque, flag=FLAG_RESPONSE, remark=remark, serialize_type=serialize_type)
    )


NO_PLACE = (0, 0, 0)
"""Of what stores nothing itself."""


class Lane:
    """A queue that sends of a plan go to, and how many went the shortest way."""

    __slots__ = ("messages", "queue_id", "size", "sizes", "target", "topic")

    def __init__(self, topic: str, queue_id: int, target: Target) -> None:
        self.topic = topic
        self.queue_id = queue_id
        self.target = target
        self.messages = 0
        self.size = 0
        self.sizes: list[tuple[int, bool]] = []
        """Of each of them: bytes, whether it has a sharding key."""


class HotPlan:
    """The common sends of one turn of the loop, of all connections, and the ends of transactions.

    `store_plan` is what is to be written, None for nothing yet. `sections` has, for each read with sends that want an answer,
    (channel, first reply, end of its replies). `places` says where each record lies: queue offset, physical offset, size.
    `topics` has (topic, queue id, messages, bytes, requests) for the counters; what went into a lane is counted there.
    What it does for transactions is in `transactions`. `failure` is what was wrong with the bytes behind the frames of the
    last read.
    """

    __slots__ = (
        "began_ns",
        "codes",
        "failure",
        "handles",
        "ins",
        "lanes",
        "places",
        "replies",
        "sections",
        "store_plan",
        "suffix",
        "topics",
        "transactions",
    )

    def __init__(self) -> None:
        self.store_plan: AppendPlan | None = None
        self.failure: RemoteProtocolError | None = None
        self.places: list[tuple[int, int, int]] = []
        self.replies: list[Reply] = []
        self.sections: list[tuple[Channel, int, int]] = []
        self.topics: list[tuple[str, int, int, int, int]] = []
        self.ins: list[tuple[str, int, int, int]] = []
        """One for each send that did not go the shortest way: topic, place of the kind in HOT_KINDS, messages, bytes."""
        self.codes: list[tuple[int, bool, bool]] = []
        """Of each request: place of its code in HOT_CODES, whether it waits, whether it wants no answer."""
        self.began_ns = 0
        """When its first send was laid out, if anybody wants to know."""
        self.lanes: dict[bytes, dict[bytes, Lane | None]] = {}
        """By topic and queue id as they stand in headers; None for what goes the long way."""
        self.handles: dict[int, str] = {}
        """Recall handles, by the number of the record."""
        self.suffix: SendSuffix | None = None
        """Set when the first send of the plan may take the short way."""
        self.transactions: PlannedTransactions | None = None
        """None as long as there is nothing of that kind in the plan."""

    def of_transactions(self) -> PlannedTransactions:
        if self.transactions is None:
            self.transactions = PlannedTransactions()
        return self.transactions

    @property
    def message_count(self) -> int:
        return len(self.places)

    def code_counts(self, waiting: bool | None) -> tuple[list[int], list[int]]:
        """Requests by place of their code in HOT_CODES: those that are answered (`waiting` as in answers()), and, told with
        those that do not wait or with all, the ones that want no answer."""
        answered, oneway = [0] * _CODES, [0] * _CODES
        for place, waits, is_oneway in self.codes:
            if is_oneway:
                oneway[place] += waiting is not True
            elif waiting is None or waits is waiting:
                answered[place] += 1
        return answered, oneway

    @property
    def log_bytes(self) -> int:
        """How long the plan is."""
        return 0 if self.store_plan is None else self.store_plan.end - self.store_plan.start

    @property
    def waiting_count(self) -> int:
        """How many of them asked to wait for disk and copies."""
        return sum(reply[6] for reply in self.replies)

    def answers(self, first: int, end: int, waiting: bool | None, code: int, remark: str | None = None) -> bytes:
        """Answers of a section: all of them (`waiting` None), or those that wait for the disk, or those that do not.

        `code` is how the messages were stored; with a `remark` they were not, and the answers carry no place.
        """
        suffix = self.suffix
        assert suffix is not None
        chosen = [reply for reply in self.replies[first:end] if waiting is None or reply[6] is waiting]
        if remark is not None:
            return b"".join(
                [
                    encoded_answer(suffix, int.from_bytes(reply[0], "big", signed=True), reply[1], code, remark, {})
                    if reply[4]
                    else encoded_end_answer(int.from_bytes(reply[0], "big", signed=True), reply[1], code, remark)
                    for reply in chosen
                ]
            )
        found: list[bytes] = []
        places, patterns = self.places, suffix.patterns
        for reply in chosen:
            opaque, serialize_type, queue_id, number, count, unique_key, _ = reply
            if not count:
                found.append(encoded_end_answer(int.from_bytes(opaque, "big", signed=True), serialize_type, code))
                continue
            is_binary = serialize_type == SERIALIZE_ROCKETMQ
            if (
                count != 1
                or number in self.handles
                or not (is_binary or (suffix.is_plain and (unique_key.isalnum() or _plain(unique_key.decode()))))
            ):
                found.append(self._stored(reply, suffix, code))
                continue
            queue_offset, physical_offset, _ = places[number]
            digits = b"%d" % queue_offset
            if is_binary:
                key: tuple[int, ...] = code, queue_id, len(digits), len(unique_key)
                pattern = patterns.get(key) or suffix.add_pattern(key, _binary_pattern(suffix, *key))
                found.append(pattern % (opaque, physical_offset, digits, unique_key))
            else:
                opaque = b"%d" % int.from_bytes(opaque, "big", signed=True)
                key = code, queue_id, len(digits), len(unique_key), len(opaque)
                pattern = patterns.get(key) or suffix.add_pattern(key, _json_pattern(suffix, *key))
                found.append(pattern % (physical_offset, digits, unique_key, opaque))
        return b"".join(found)

    def _stored(self, reply: Reply, suffix: SendSuffix, code: int) -> bytes:
        opaque, serialize_type, queue_id, number, count, unique_bytes, _ = reply
        host, handle = suffix.store_host_hex, self.handles.get(number)
        # As record.offset_msg_id has it; the host is the broker's for all of them.
        msg_id = ",".join([f"{host}{place[1]:016X}" for place in self.places[number : number + count]])
        queue_offset = self.places[number][0]
        if serialize_type == SERIALIZE_ROCKETMQ and handle is None:
            return _binary_answer(suffix, reply, code, msg_id.encode(), b"%d" % queue_offset)
        unique_key = unique_bytes.decode()
        number = int.from_bytes(opaque, "big", signed=True)
        if serialize_type == SERIALIZE_JSON and suffix.is_plain and _plain(unique_key):
            digits = b"%d" % queue_offset
            return _json_answer(suffix, code, b"%d" % number, queue_id, digits, unique_bytes, msg_id.encode(), handle)
        fields = {
            "msgId": msg_id,
            "queueId": str(queue_id),
            "queueOffset": str(queue_offset),
            "transactionId": unique_key,
        }
        if handle is not None:
            fields["recallHandle"] = handle
        return encoded_answer(suffix, number, serialize_type, code, None, fields)


def _plain(text: str) -> bool:
    """Stands in a JSON string as it is."""
    return text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def plain_number(text: str, digits_max: int = 9) -> int:
    """A number of plain digits; nine of them fit 32 bits however it is used. Raises: ValueError otherwise."""
    if len(text) > digits_max or not (text.isdecimal() and text.isascii()):
        raise ValueError(text)
    return int(text)
