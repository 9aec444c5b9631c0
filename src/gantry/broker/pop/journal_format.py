"""Bytes of the ledger's files. Pure.

Shape of a journal record: crc32 (u4, of all that follows) | length (u2 of the body) | kind (u1) | body; big-endian. A body is:

    1 queue    u4 number, u4 queue id, u2 + topic, u2 + group
    2 pop      u4 queue, i8 next, i8 pop time, i8 deadline, i8 first offset, then u4 for each further one: distance to the first
    3 ack      u4 queue, i8 offset, ...
    4 change   u4 queue, i8 offset, i8 pop time, i8 deadline
    5 moved    u4 queue, i8 offset, i8 log end
    6 drop     u4 queue
    7 order    u4 queue, i8 committed, JSON of the order information
    8 offsets  u4 crc32, u8 size
    9 chain    u8 generation, u8 bytes of the journal before
   10 time     i8 ledger time

A snapshot: magic (8 bytes), u4 crc32 of the rest, u8 length of the rest; then u4 + JSON head (queues, known offsets, slot
count, ledger time), then the four columns of the ledger, little-endian: queue i4, offset i8, pop time i8, deadline i8.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterator

import msgspec

from gantry.errors import LocalProtocolError

from .ledger import PopLedger, PopQueue
from .ops import AckOp, ChainOp, ChangeOp, DropOp, MovedOp, OffsetsOp, Op, OrderOp, PopOp, QueueOp, TimeOp

MAGIC = b"GPOPLED1"
_HEAD = struct.Struct(">IHB")
_TEXT = struct.Struct(">H")
_QUEUE = struct.Struct(">II")
_POP = struct.Struct(">Iqqq")
_CHANGE = struct.Struct(">Iqqq")
_MOVED = struct.Struct(">Iqq")
_ORDER = struct.Struct(">Iq")
_NUMBER = struct.Struct(">I")
_OFFSETS = struct.Struct(">IQ")
_CHAIN = struct.Struct(">QQ")
_TIME = struct.Struct(">q")
_SNAPSHOT = struct.Struct(">8sIQ")
_BODY_MAX = 65535

QUEUE, POP, ACK, CHANGE, MOVE, DROP, ORDER, OFFSETS, CHAIN, TIME = range(1, 11)


def encode_op(op: Op) -> bytes:
    """One operation as a journal record. Raises: LocalProtocolError when it does not fit one."""
    if isinstance(op, PopOp):
        return _record(POP, _POP.pack(op.queue, op.next_offset, op.pop_time, op.deadline) + _offsets(op.offsets))
    if isinstance(op, AckOp):
        return _record(ACK, struct.pack(f">I{len(op.offsets)}q", op.queue, *op.offsets))
    if isinstance(op, ChangeOp):
        return _record(CHANGE, _CHANGE.pack(*op))
    if isinstance(op, MovedOp):
        return _record(MOVE, _MOVED.pack(*op))
    if isinstance(op, QueueOp):
        topic, group = op.topic.encode(), op.group.encode()
        texts = _TEXT.pack(len(topic)) + topic + _TEXT.pack(len(group)) + group
        return _record(QUEUE, _QUEUE.pack(op.queue, op.queue_id) + texts)
    if isinstance(op, OrderOp):
        return _record(ORDER, _ORDER.pack(op.queue, op.committed) + op.info)
    if isinstance(op, DropOp):
        return _record(DROP, _NUMBER.pack(op.queue))
    if isinstance(op, OffsetsOp):
        return _record(OFFSETS, _OFFSETS.pack(*op))
    if isinstance(op, TimeOp):
        return _record(TIME, _TIME.pack(*op))
    return _record(CHAIN, _CHAIN.pack(*op))


def decode_ops(data: bytes) -> Iterator[tuple[Op, int]]:
    """The operations of a journal and the byte position behind each, up to the first bytes that are no whole record."""
    at, end = 0, len(data)
    while at + _HEAD.size <= end:
        crc, length, kind = _HEAD.unpack_from(data, at)
        stop = at + _HEAD.size + length
        if stop > end or zlib.crc32(data[at + 4 : stop]) != crc:
            return
        try:
            op = _decode(kind, data[at + _HEAD.size : stop])
        except (struct.error, UnicodeDecodeError, IndexError, ValueError):
            return
        yield op, stop
        at = stop


def _record(kind: int, body: bytes) -> bytes:
    if len(body) > _BODY_MAX:
        raise LocalProtocolError(f"a ledger record of {len(body)} bytes; at most {_BODY_MAX} fit")
    rest = struct.pack(">HB", len(body), kind) + body
    return zlib.crc32(rest).to_bytes(4, "big") + rest


def _offsets(offsets: tuple[int, ...]) -> bytes:
    if not offsets:
        return b""
    first = offsets[0]
    return struct.pack(f">q{len(offsets) - 1}I", first, *(offset - first for offset in offsets[1:]))


def _decode(kind: int, body: bytes) -> Op:
    if kind == POP:
        queue, next_offset, pop_time, deadline = _POP.unpack_from(body)
        rest = body[_POP.size :]
        if not rest:
            return PopOp(queue, next_offset, pop_time, deadline, ())
        first, *further = struct.unpack(f">q{(len(rest) - 8) // 4}I", rest)
        return PopOp(queue, next_offset, pop_time, deadline, (first, *(first + distance for distance in further)))
    if kind == ACK:
        queue, *offsets = struct.unpack(f">I{(len(body) - 4) // 8}q", body)
        return AckOp(queue, tuple(offsets))
    if kind == CHANGE:
        return ChangeOp(*_CHANGE.unpack(body))
    if kind == MOVE:
        return MovedOp(*_MOVED.unpack(body))
    if kind == QUEUE:
        number, queue_id = _QUEUE.unpack_from(body)
        (length,) = _TEXT.unpack_from(body, 8)
        topic = body[10 : 10 + length].decode()
        (group_length,) = _TEXT.unpack_from(body, 10 + length)
        group = body[12 + length : 12 + length + group_length].decode()
        return QueueOp(number, topic, group, queue_id)
    if kind == ORDER:
        queue, committed = _ORDER.unpack_from(body)
        return OrderOp(queue, committed, body[_ORDER.size :])
    if kind == DROP:
        return DropOp(*_NUMBER.unpack(body))
    if kind == OFFSETS:
        return OffsetsOp(*_OFFSETS.unpack(body))
    if kind == CHAIN:
        return ChainOp(*_CHAIN.unpack(body))
    if kind == TIME:
        return TimeOp(*_TIME.unpack(body))
    raise ValueError(f"record kind {kind}")


class _QueueState(msgspec.Struct, array_like=True):
    number: int
    topic: str
    group: str
    queue_id: int
    next: int
    committed: int = -1
    order_info: str | None = None


class _SnapshotHead(msgspec.Struct):
    slots: int
    queues: list[_QueueState]
    queue_count: int
    own_offsets: list[tuple[int, int]]
    moved: list[tuple[int, int, int]]
    time: int = 0


def snapshot_parts(ledger: PopLedger) -> list[bytes]:
    """The ledger as it is now, in pieces for `join_snapshot`: copies, so that the ledger may go on meanwhile."""
    columns = ledger.columns
    head = _SnapshotHead(
        slots=len(columns[0]),
        queues=[
            _QueueState(
                queue.number, queue.topic, queue.group, queue.queue_id, queue.next, queue.committed,
                None if queue.order_info is None else queue.order_info.decode(),
            )
            for queue in ledger.all_queues()
        ],
        queue_count=len(ledger.queues),
        own_offsets=ledger.own_offsets,
        moved=ledger.moved,
        time=ledger.time,
    )  # fmt: skip
    text = msgspec.json.encode(head)
    return [_NUMBER.pack(len(text)) + text, *(_little(column) for column in columns)]


def join_snapshot(parts: list[bytes]) -> bytes:
    """The bytes of a snapshot file. May take a while for a large ledger: not on the loop."""
    rest = b"".join(parts)
    return _SNAPSHOT.pack(MAGIC, zlib.crc32(rest), len(rest)) + rest


def decode_snapshot(data: bytes) -> PopLedger:
    """Raises: ValueError when the bytes are not a whole snapshot."""
    if len(data) < _SNAPSHOT.size:
        raise ValueError("a snapshot of the ledger is too short")
    magic, crc, length = _SNAPSHOT.unpack_from(data)
    rest = memoryview(data)[_SNAPSHOT.size : _SNAPSHOT.size + length]
    if magic != MAGIC or len(rest) != length or zlib.crc32(rest) != crc:
        raise ValueError("a snapshot of the ledger is damaged")
    (head_length,) = _NUMBER.unpack_from(rest)
    try:
        head = msgspec.json.decode(rest[4 : 4 + head_length], type=_SnapshotHead)
    except msgspec.MsgspecError as error:
        raise ValueError(f"a snapshot of the ledger has no head: {error}") from None
    columns = []
    at = 4 + head_length
    for code, width in (("i", 4), ("q", 8), ("q", 8), ("q", 8)):
        column = array(code)
        column.frombytes(rest[at : at + head.slots * width])
        if sys.byteorder == "big":
            column.byteswap()
        if len(column) != head.slots:
            raise ValueError("a snapshot of the ledger has too few slots")
        columns.append(column)
        at += head.slots * width
    ledger = PopLedger()
    ledger.queues = [None] * head.queue_count
    for state in head.queues:
        ledger.apply(QueueOp(state.number, state.topic, state.group, state.queue_id))
        queue = ledger.queues[state.number]
        assert isinstance(queue, PopQueue)
        queue.next, queue.committed = state.next, state.committed
        queue.order_info = None if state.order_info is None else state.order_info.encode()
    ledger.own_offsets = [(crc, size) for crc, size in head.own_offsets]
    ledger.time = head.time
    ledger.adopt(columns, head.moved)
    return ledger


def _little(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()
