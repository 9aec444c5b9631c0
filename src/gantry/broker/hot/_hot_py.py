"""The engine in pure Python: bytes of a connection in, a plan out. It makes no system call and keeps no state of its own.

A send is common when its topic is known and ordinary, its queue is in range, its unique key is there, and none of the
properties stand in it that make the broker do more than append. Whether that is so is told by looking for names in the
property text; a name inside a value is found, too, and merely sends the frame the long way round.
"""

from __future__ import annotations

import contextlib
import re
import struct
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from gantry.errors import MessageIllegal, RemoteProtocolError
from gantry.model import StoreMessage, message_const, sys_flag, topic_config, topic_validator
from gantry.protocol.message.batch import decode_batch
from gantry.protocol.message.message_id import encode_host
from gantry.protocol.message.properties import find_property
from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import SERIALIZE_JSON, SERIALIZE_ROCKETMQ, RemotingCommand, decode_frame
from gantry.protocol.remoting.frame import PREFIX_BYTES, Frame, FrameDecoder
from gantry.protocol.remoting.header.send_message import SendMessageRequestHeader
from gantry.protocol.remoting.header.send_message_v2 import SendMessageRequestHeaderV2
from gantry.store.append import COMMON_PROPERTIES_MAX

from ..metrics.counters import HOT_KINDS, SIZE_BOUNDS
from ..metrics.rpc import HOT_CODES
from ..transaction.half_message import HALF_TOPIC, NOT_DELAYED, QUEUE_ID
from ._plan_py import ASK_FOR_MORE, HotPlan, Lane, SendSuffix, plain_number
from ._shapes_py import SHAPE_BYTES_MAX, SendShape, shape_of
from ._transactions_py import PREPARED, common_half, lay_out_end
from .delayed import place_delayed
from .gates import sends_are_common

if TYPE_CHECKING:
    from gantry.model import Host
    from gantry.runtime.channel import Channel
    from gantry.store import AppendPlan
    from gantry.store.append import CommonMessage

    from ..context import BrokerContext
    from ..long_polling import HeldPull

BATCH_COUNT_MAX = 4096

_SHAPES_MAX = 256
_SHAPES_A_LENGTH = 4
_LEARN_EVERY = 16
"""Where so many shapes of a length are known, only every so many-th header that is like none of them takes the place of one."""

_PREFIX = struct.Struct(">iI")
_HOST_V4_SIZE = 8
_ZERO = ord("0")
_INT32_MAX = (1 << 31) - 1
_PLAIN_TOPIC = re.compile(rb"[%|a-zA-Z0-9_-]+\Z")

_SEND = int(RequestCode.SEND_MESSAGE)
_SEND_V2 = int(RequestCode.SEND_MESSAGE_V2)
_SEND_BATCH = int(RequestCode.SEND_BATCH_MESSAGE)
_END = int(RequestCode.END_TRANSACTION)
_SEND_CODES = frozenset({_SEND, _SEND_V2, _SEND_BATCH})
_BINARY_CODES = tuple(code.to_bytes(2, "big") for code in sorted({*_SEND_CODES, _END}))
_JSON_CODES = (b'"code":310', b'"code":320', b'"code":10,', b'"code":10}', b'"code":37,', b'"code":37}')

RARE_FLAGS = sys_flag.TRANSACTION_MASK | sys_flag.INNER_BATCH | sys_flag.NEED_UNWRAP
_UNIQ = message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX.encode()
_UNIQ_NAME = _UNIQ + b"\x01"
_WAIT_NAME = message_const.WAIT_STORE_MSG_OK.encode() + b"\x01"
_WAIT = message_const.WAIT_STORE_MSG_OK.encode()
_SHARDING = message_const.SHARDING_KEY.encode()
_CODE_PLACES = {code: place for place, code in enumerate(HOT_CODES)}
_NORMAL, _FIFO, _DELAYED, _HALF = range(len(HOT_KINDS))
_RARE_NAMES = tuple(
    f"{name}\x01".encode() for name in (*NOT_DELAYED, message_const.TRANSACTION_PREPARED, *sorted(ASK_FOR_MORE))
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
    producer_group: str
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
    "producerGroup",
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
    "a",
    "l",
    frozenset(spec.wire_name for spec in SendMessageRequestHeaderV2.FIELDS if spec.required),
)


class HotEngine:
    """One per broker. Topics, queues and settings stay with their owners and are read where they are."""

    name = "python"

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker
        self._suffix = SendSuffix()
        self._counts: dict[tuple[str, int], list[int]] = {}
        self._totals = [0, 0, 0, 0, 0]
        self._ins: dict[tuple[str, int], list[int]] = {}
        """By topic and place of the kind in HOT_KINDS: messages, bytes, sum of mean sizes, requests by size."""
        self._shapes: dict[int, tuple[SendShape, ...]] = {}
        """By the second word of a frame, which says serialization and length of the header."""
        self._shape_count = 0
        self._misses = 0

    def count(self, plan: HotPlan) -> None:
        """The plan is stored: what it holds is counted, until somebody takes the counts."""
        for topic, queue_id, messages, size, requests in plan.topics:
            self._count(topic, queue_id, messages, size, requests)
        for lanes in plan.lanes.values():
            for lane in lanes.values():
                if lane is not None and lane.messages:
                    self._count(lane.topic, lane.queue_id, lane.messages, lane.size, lane.messages)
                    for size, is_fifo in lane.sizes:
                        self._count_in(lane.topic, _FIFO if is_fifo else _NORMAL, 1, size)
        for topic, kind, messages, size in plan.ins:
            self._count_in(topic, kind, messages, size)

    def _count_in(self, topic: str, kind: int, messages: int, size: int) -> None:
        row = self._ins.get((topic, kind))
        if row is None:
            row = self._ins[topic, kind] = [0] * (4 + len(SIZE_BOUNDS))
        mean = size // messages
        row[0] += messages
        row[1] += size
        row[2] += mean
        row[3 + bisect_left(SIZE_BOUNDS, mean)] += 1

    def _count(self, topic: str, queue_id: int, messages: int, size: int, requests: int) -> None:
        row = self._counts.setdefault((topic, queue_id), [0, 0, 0])
        row[0] += messages
        row[1] += size
        row[2] += requests
        totals = self._totals
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

    def take_ins(self) -> list[tuple[str, int, int, int, int, list[int]]]:
        """Topic, place of the kind in HOT_KINDS, messages, bytes, sum of the requests' mean sizes, and requests by
        SIZE_BOUNDS, since the last call."""
        taken, self._ins = self._ins, {}
        return [(topic, kind, row[0], row[1], row[2], row[3:]) for (topic, kind), row in taken.items()]

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
        whole = decoder.whole(data)
        if whole is None:
            return []
        frames: list[Frame] = []
        first, messages = len(plan.replies), plan.message_count
        born_host = (channel.remote_host, channel.remote_port)
        at = 0
        try:
            while True:
                at = self._sends_of_known_shape(plan, decoder, whole, at, born_host)
                found = decoder.frame_at(whole, at)
                if found is None:
                    break
                frame, at = found
                if not (_may_be_send(frame) and self._accepts(plan) and self._send(plan, frame, born_host)):
                    frames.append(frame)
        except RemoteProtocolError as error:
            if not frames and plan.message_count == messages:
                raise
            plan.failure = error
        finally:
            if at < len(whole):
                decoder.receive_data(whole[at:])
            end = len(plan.replies)
            if end > first:
                plan.sections.append((channel, first, end))
        return frames

    # -- inside

    def _sends_of_known_shape(self, plan: HotPlan, decoder: FrameDecoder, data: bytes, at: int, born_host: Host) -> int:
        """Lays out the sends that stand there one behind the other and whose shape is known; returns where they end.

        Whatever is not exactly as in a send that was found common ends them, and goes the long way.
        """
        size, total_max, shapes = len(data), decoder.total_max, self._shapes
        messages: list[CommonMessage] = []
        lanes: list[Lane] = []
        fifos: list[bool] = []
        replies = plan.replies
        number = len(plan.places)
        wait = False
        body_max = -1
        while size - at >= PREFIX_BYTES:
            total, word = _PREFIX.unpack_from(data, at)
            header_at = at + PREFIX_BYTES
            end = at + 4 + total
            for shape in shapes.get(word, ()):
                body_at = header_at + shape.size
                if not body_at <= end <= size:
                    continue
                pieces = shape.cut(data, header_at)
                if pieces[::2] == shape.stays:
                    break
            else:
                break
            if body_max < 0:
                opened = self._open(plan, decoder, born_host)
                if opened is None:
                    break
                suffix, store_plan = opened
                body_max, all_lanes = store_plan.common_body_max, plan.lanes
                more_max = COMMON_PROPERTIES_MAX - len(suffix.properties) - 1
            properties = shape.properties_in(data, header_at)
            opaque, topic, queue, born, unique = shape.pick(pieces)
            if (
                properties is None
                or not born.isdigit()
                or len(properties) > more_max
                or end - body_at > body_max
                or total > total_max
            ):
                break
            serialize_type = SERIALIZE_ROCKETMQ
            if shape.is_json:
                serialize_type = SERIALIZE_JSON
                if not opaque.isdigit() or (opaque[0] == _ZERO and len(opaque) > 1) or int(opaque) > _INT32_MAX:
                    break
                opaque = int(opaque).to_bytes(4, "big")
            try:
                lane = all_lanes[topic][queue]
            except KeyError:
                lane = self._new_lane(plan, store_plan, topic, queue)
            if lane is None:
                break
            tags_at, words_at = shape.tags_at, shape.words_at
            messages.append(
                (
                    lane.target,
                    shape.flag,
                    shape.sys_flag,
                    shape.reconsume_times,
                    int(born),
                    data[body_at:end],
                    properties,
                    suffix.behind_open_pair if shape.is_open else suffix.properties,
                    unique,
                    pieces[words_at] if words_at else None,
                    pieces[tags_at] if tags_at else None,
                )
            )
            lanes.append(lane)
            fifos.append(shape.is_fifo)
            waits = shape.waits
            plan.codes.append((shape.code_place, waits, shape.is_oneway))
            if waits:
                wait = True
            if not shape.is_oneway:
                replies.append((opaque, serialize_type, lane.queue_id, number, 1, unique, waits))
            number += 1
            at = end
        if messages:
            places = store_plan.add_common(messages, born_host, self._broker.store_host, wait)
            plan.places += places
            for lane, place, is_fifo in zip(lanes, places, fifos, strict=True):
                lane.messages += 1
                lane.size += place[2]
                lane.sizes.append((place[2], is_fifo))
        return at

    def _open(self, plan: HotPlan, decoder: FrameDecoder, born_host: Host) -> tuple[SendSuffix, AppendPlan] | None:
        """Sends may go the shortest way now: both hosts are IPv4, and the plan has what it needs."""
        if decoder.header_bytes_max < SHAPE_BYTES_MAX or not self._accepts(plan):
            return None
        suffix = plan.suffix
        assert suffix is not None
        try:
            if len(encode_host(born_host)) != _HOST_V4_SIZE or len(encode_host(self._broker.store_host)) != _HOST_V4_SIZE:
                return None
        except (ValueError, OverflowError):
            return None
        plan.store_plan = plan.store_plan or self._broker.store.appender.new_plan()
        return suffix, plan.store_plan

    def _new_lane(self, plan: HotPlan, store_plan: AppendPlan, topic: bytes, queue: bytes) -> Lane | None:
        """Kept in the plan, also when such sends go the long way (None); nothing about topics changes under a plan."""
        lane = None
        if _PLAIN_TOPIC.match(topic) and queue.isdigit() and len(queue) <= 9:
            name, queue_id = topic.decode("ascii"), int(queue)
            if self._takes(name, queue_id):
                with contextlib.suppress(MessageIllegal):
                    lane = Lane(name, queue_id, store_plan.target(name, queue_id))
        plan.lanes.setdefault(topic, {})[queue] = lane
        return lane

    def _takes(self, name: str, queue_id: int) -> bool:
        """Sends to this topic and queue are common."""
        topic = self._broker.topics.table.get(name)
        return not (
            topic is None
            or name[0] == "%"
            or (queue_id >= topic.write_queue_nums and queue_id >= topic.read_queue_nums)
            or topic.topic_filter_type != topic_config.SINGLE_TAG
            or topic.other_keeping is not None
            or topic_validator.is_not_allowed_send_topic(name)
        )

    def _learn(self, request: RemotingCommand, header: bytes) -> None:
        """A single send with this header went the long way and was common."""
        word = request.serialize_type << 24 | len(header)
        known = self._shapes.get(word, ())
        self._misses += 1
        if len(known) >= _SHAPES_A_LENGTH and self._misses % _LEARN_EVERY:
            return
        shape = shape_of(request, header)
        if shape is None or any(other.stays == shape.stays for other in known):
            return
        if self._shape_count >= _SHAPES_MAX:
            self._shapes.clear()
            self._shape_count, known = 0, ()
        if len(known) < _SHAPES_A_LENGTH:
            self._shape_count += 1
        self._shapes[word] = (shape, *known[: _SHAPES_A_LENGTH - 1])

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
        if code == _END:
            return lay_out_end(self._broker, plan, request, self._takes)
        if code not in _SEND_CODES or fields is None or request.is_response:
            return False
        names = _LONG_NAMES if code == _SEND else _SHORT_NAMES
        try:
            name, properties_text = fields[names.topic], fields[names.properties]
            queue_id = plain_number(fields[names.queue_id])
            flags = plain_number(fields[names.sys_flag])
            flag = plain_number(fields[names.flag])
            reconsume_times = plain_number(fields.get(names.reconsume_times, "0"))
            born_timestamp = plain_number(fields[names.born_timestamp], 18)
            plain_number(fields[names.queue_nums])
            plain_number(fields.get(names.max_reconsume_times, "0"))
        except (KeyError, ValueError):
            return False  # missing, malformed or unusual: the processors know what to say
        broker = self._broker
        batch = code == _SEND_BATCH or fields.get(names.batch, "").lower() == "true"
        half = None
        if flags & RARE_FLAGS:
            if flags & RARE_FLAGS != PREPARED or batch or broker.config.reject_transaction_message:
                return False
            half = common_half(properties_text, name, queue_id, fields.get(names.producer_group, ""), suffix.properties)
            if half is None:
                return False
            flags &= ~PREPARED
        if not properties_text or not fields.keys() >= names.required or not self._takes(name, queue_id):
            return False
        if half is not None:
            message = StoreMessage(
                HALF_TOPIC,
                QUEUE_ID,
                frame.body,
                half.properties,
                flag,
                flags,
                born_timestamp,
                born_host,
                broker.store_host,
                reconsume_times,
                0,
                half.waits,
            )
            if not self._lay_out(
                plan, request, [message], half.unique_key.encode("utf-8", "replace"), queue_id, HALF_TOPIC, _HALF
            ):
                return False
            planned = plan.of_transactions()
            planned.halves[name] = planned.halves.get(name, 0) + 1
            return True
        properties = properties_text.encode("utf-8", "surrogatepass")
        if _UNIQ_NAME not in properties:
            return False
        for rare in _RARE_NAMES:
            if rare in properties:
                return self._send_delayed(
                    plan, request, frame, names, properties, (flags, flag, born_timestamp, reconsume_times, born_host), queue_id
                )
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
        if batch:
            members = self._members(frame.body, messages[0])
            if members is None:
                return False
            messages = members
        # Text that is not whole is answered as the codecs would write it.
        unique_text = unique_key.decode("utf-8", "replace").encode()
        kind = _FIFO if _has_sharding_key(properties) else _NORMAL
        if not self._lay_out(plan, request, messages, unique_text, queue_id, name, kind):
            return False
        if not batch:
            self._learn(request, frame.header)
        return True

    def _lay_out(
        self,
        plan: HotPlan,
        request: RemotingCommand,
        messages: list[StoreMessage],
        unique_text: bytes,
        queue_id: int,
        stored_topic: str,
        kind: int,
    ) -> bool:
        """The messages of one send, and its answer; `queue_id` is what the sender asked for. False: the plan is as it was."""
        store_plan = plan.store_plan or self._broker.store.appender.new_plan()
        plan.store_plan = store_plan
        try:
            records = [store_plan.add(messages[0])] if len(messages) == 1 else store_plan.add_batch(messages)
        except MessageIllegal:
            return False
        if not request.is_oneway:
            opaque = (request.opaque & 0xFFFFFFFF).to_bytes(4, "big")
            waits = messages[0].wait_store_ok
            plan.replies.append((opaque, request.serialize_type, queue_id, len(plan.places), len(records), unique_text, waits))
        plan.places += [(record.queue_offset, record.physical_offset, record.size) for record in records]
        size = sum(record.size for record in records)
        plan.topics.append((stored_topic, queue_id, len(records), size, 1))
        plan.ins.append((stored_topic, kind, len(records), size))
        plan.codes.append((_CODE_PLACES[request.code], messages[0].wait_store_ok, request.is_oneway))
        return True

    def _send_delayed(
        self,
        plan: HotPlan,
        request: RemotingCommand,
        frame: Frame,
        names: _Names,
        text: bytes,
        values: tuple[int, int, int, int, Host],
        queue_id: int,
    ) -> bool:
        """Lays out a send that waits in the timer or a delay level; False as in _send()."""
        broker, fields = self._broker, request.ext_fields or {}
        flags, flag, born_timestamp, reconsume_times, born_host = values
        if request.code == _SEND_BATCH or fields.get(names.batch, "").lower() == "true":
            return False
        placed = place_delayed(broker, fields[names.topic], queue_id, text)
        if placed is None:
            return False
        number = len(plan.places)
        kind = _FIFO if _has_sharding_key(text) else _DELAYED
        message = StoreMessage(
            placed.topic,
            placed.queue_id,
            frame.body,
            placed.properties,
            flag,
            flags,
            born_timestamp,
            born_host,
            broker.store_host,
            reconsume_times,
            0,
            placed.waits,
        )
        if not self._lay_out(plan, request, [message], placed.unique_key, queue_id, placed.topic, kind):
            return False
        if placed.handle and not request.is_oneway:
            plan.handles[number] = placed.handle.decode()
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
            messages.append(shared._replace(body=member_body, flag=flag, properties=own))
        return messages


def _may_be_send(frame: Frame) -> bool:
    """Cheap: most other frames are not decoded twice."""
    header = frame.header
    if frame.serialize_type == SERIALIZE_JSON:
        return any(code in header for code in _JSON_CODES) or b'"code": ' in header or b'"code" ' in header
    return header[:2] in _BINARY_CODES


def _has_sharding_key(properties: bytes) -> bool:
    return _SHARDING in properties and find_property(properties, _SHARDING) is not None
