"""Reads any file of a store without a broker, for people and tools. Nothing here writes.

Every function takes the Disk door and one path and yields plain values in file order; bytes that are not what they should be
end the iteration with a `problem`, never with an exception.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gantry.errors import RemoteProtocolError
from gantry.protocol.disk.checkpoint_layout import Checkpoint, decode_checkpoint
from gantry.protocol.disk.consume_queue_unit import FILLER_SIZE, UNIT_SIZE, iterate_units
from gantry.protocol.disk.file_name import parse_offset_file_name
from gantry.protocol.disk.index_layout import (
    ENTRY_SIZE,
    HEADER_SIZE,
    SLOT,
    SLOT_SIZE,
    IndexHeader,
    decode_entry,
    entry_position,
    index_file_size,
    slot_position,
)
from gantry.protocol.disk.timer_log_unit import UNIT_SIZE as TIMER_UNIT_SIZE
from gantry.protocol.disk.timer_log_unit import TimerLogUnit, decode_timer_unit, is_timer_blank
from gantry.protocol.disk.timer_wheel_slot import SLOT_SIZE as SLOT_SIZE_OF_WHEEL
from gantry.protocol.disk.timer_wheel_slot import WheelSlot, decode_slot
from gantry.protocol.message.record import MAGIC_BLANK, RECORD_SIZE_MIN, RecordView
from gantry.runtime.disk import Disk, DiskFile

from .config import StorePaths
from .own_state import SyncedState, decode_synced_state

_CHUNK = 1 << 20
_DEFAULT_SLOTS = 5_000_000
_DEFAULT_ENTRIES = 20_000_000


@dataclass(slots=True, frozen=True)
class LogItem:
    """A record, a blank record, or the place where the file makes no sense (`problem`).

    Units: `physical_offset` counts from the start of the log, `size` in bytes.
    """

    physical_offset: int
    size: int
    record: RecordView | None = None
    blank: bool = False
    problem: str = ""


@dataclass(slots=True, frozen=True)
class QueueItem:
    """One entry of a consume queue. Units: `queue_offset` in entries."""

    queue_offset: int
    physical_offset: int
    size: int
    tags_code: int
    filler: bool


@dataclass(slots=True, frozen=True)
class IndexItem:
    """One entry of an index file. Units: `store_second_ms` is the store time, to the second below, in ms."""

    number: int
    key_hash: int
    physical_offset: int
    seconds: int
    previous: int
    store_second_ms: int


@dataclass(slots=True, frozen=True)
class TimerItem:
    """One entry of a timer log. Units: `position` in bytes of the timer log, `due_ms` is its slot's time."""

    position: int
    due_ms: int
    unit: TimerLogUnit
    problem: str = ""


def kind_of(path: str) -> str | None:
    """What file this is, by place and name: commitlog, consumequeue, index, checkpoint, abort, lock, syncedOffset,
    timerlog, timerwheel, timercheck, metadata, or None."""
    parts = path.rstrip("/").split("/")
    name = parts[-1]
    if name in ("checkpoint", "abort", "lock"):
        return name
    if name == "syncedOffset.json":
        return "syncedOffset"
    if name in ("timerwheel", "timercheck"):
        return name
    if name in ("timermetrics", "timermetrics.bak", "timerState.json", "timerState.json.bak"):
        return "metadata"
    if len(parts) > 1 and parts[-2] == "index" and name.isdigit():
        return "index"
    if parse_offset_file_name(name) is None:
        return None
    if len(parts) > 3 and parts[-4] == "consumequeue":
        return "consumequeue"
    if len(parts) > 1 and parts[-2] == "timerlog":
        return "timerlog"
    return "commitlog"


def iterate_log(disk: Disk, path: str, *, start: int | None = None) -> Iterator[LogItem]:
    """Items of one commit log file, from `start` (a physical offset; default: the file's start) to its end or first problem."""
    base = parse_offset_file_name(path.rsplit("/", 1)[-1]) or 0
    file = disk.open(path, writable=False)
    try:
        position = max((start or base) - base, 0)
        while position + 8 <= file.size:
            item = _log_item(file, base, position)
            if item is None:
                return
            yield item
            if item.problem or item.blank:
                return
            position += item.size
    finally:
        file.close()


def _log_item(file: DiskFile, base: int, position: int) -> LogItem | None:
    head = file.pread(8, position)
    size = int.from_bytes(head[:4], "big", signed=True)
    magic = int.from_bytes(head[4:], "big", signed=True)
    offset = base + position
    if magic == MAGIC_BLANK:
        return LogItem(offset, size, blank=True)
    if not any(head):
        return None
    if not RECORD_SIZE_MIN <= size <= file.size - position:
        return LogItem(offset, size, problem=f"size {size} does not fit the file")
    try:
        view = RecordView(file.pread(size, position))
    except RemoteProtocolError as error:
        return LogItem(offset, size, problem=str(error))
    if view.physical_offset != offset:
        return LogItem(offset, size, problem=f"the record says physical offset {view.physical_offset}")
    if not view.crc_matches:
        return LogItem(offset, size, view, problem=f"body CRC is not 0x{view.body_crc:08x}")
    return LogItem(offset, size, view)


def iterate_queue(disk: Disk, path: str, *, start: int = 0) -> Iterator[QueueItem]:
    """Entries of one consume queue file, from queue offset `start` on; zero entries (never written) are left out."""
    base = (parse_offset_file_name(path.rsplit("/", 1)[-1]) or 0) // UNIT_SIZE
    file = disk.open(path, writable=False)
    try:
        units = file.size // UNIT_SIZE
        number = max(start - base, 0)
        while number < units:
            count = min(_CHUNK // UNIT_SIZE, units - number)
            data = file.pread(count * UNIT_SIZE, number * UNIT_SIZE)
            for physical_offset, size, code in iterate_units(data[: len(data) // UNIT_SIZE * UNIT_SIZE]):
                if size:
                    yield QueueItem(base + number, physical_offset, size, code, size == FILLER_SIZE)
                number += 1
            if len(data) < count * UNIT_SIZE:
                return
    finally:
        file.close()


def iterate_timer_log(disk: Disk, path: str, *, start: int = 0) -> Iterator[TimerItem]:
    """Entries of one timer log file, from a position on to its end, its blank, or the first bytes that are no entry."""
    base = parse_offset_file_name(path.rsplit("/", 1)[-1]) or 0
    data = disk.read_file(path)
    for at in range(
        max(start - base, 0) // TIMER_UNIT_SIZE * TIMER_UNIT_SIZE, len(data) - TIMER_UNIT_SIZE + 1, TIMER_UNIT_SIZE
    ):
        unit = decode_timer_unit(data, at)
        if is_timer_blank(data, at) or not any(data[at : at + TIMER_UNIT_SIZE]):
            return
        yield TimerItem(base + at, unit.slot_time_ms, unit, "" if unit.valid else "this is no entry")
        if not unit.valid:
            return


def iterate_wheel(disk: Disk, path: str) -> Iterator[tuple[int, WheelSlot]]:
    """Index and content of the slots of a wheel that were ever used."""
    data = disk.read_file(path)
    blank = bytes(_CHUNK)
    for block in range(0, len(data), _CHUNK):
        part = data[block : block + _CHUNK]
        if part == blank[: len(part)]:
            continue
        for at in range(0, len(part) - SLOT_SIZE_OF_WHEEL + 1, SLOT_SIZE_OF_WHEEL):
            slot = decode_slot(part, at)
            if slot.tick:
                yield (block + at) // SLOT_SIZE_OF_WHEEL, slot


def read_index_header(disk: Disk, path: str) -> IndexHeader:
    file = disk.open(path, writable=False)
    try:
        return IndexHeader.decode(file.pread(HEADER_SIZE, 0).ljust(HEADER_SIZE, b"\0"))
    finally:
        file.close()


def iterate_index(disk: Disk, path: str, *, slot_count: int | None = None) -> Iterator[IndexItem]:
    """Entries of one index file, in the order they were added.

    `slot_count` is maxHashSlotNum of the broker that made it; None takes what `index_slot_count` finds.
    Raises: ValueError when it is unknown and was not given.
    """
    slots = slot_count or index_slot_count(disk, path)
    if slots is None:
        raise ValueError(f"{path}: the number of hash slots is not in the file; give maxHashSlotNum")
    header = read_index_header(disk, path)
    file = disk.open(path, writable=False)
    try:
        number = 1
        while number < header.index_count:
            count = min(_CHUNK // ENTRY_SIZE, header.index_count - number)
            data = file.pread(count * ENTRY_SIZE, entry_position(slots, number))
            for at in range(0, len(data) - ENTRY_SIZE + 1, ENTRY_SIZE):
                hashed, physical_offset, seconds, previous = decode_entry(data, at)
                yield IndexItem(number, hashed, physical_offset, seconds, previous, header.begin_timestamp + seconds * 1000)
                number += 1
            if len(data) < count * ENTRY_SIZE:
                return
    finally:
        file.close()


def read_index_slots(disk: Disk, path: str, slot_count: int) -> list[int]:
    """The hash slots of an index file."""
    file = disk.open(path, writable=False)
    try:
        data = file.pread(slot_count * SLOT_SIZE, slot_position(0))
        return [value for (value,) in SLOT.iter_unpack(data)]
    finally:
        file.close()


def index_slot_count(disk: Disk, path: str) -> int | None:
    """Hash slots of an index file: by our own state beside the store, or the default when the length is the default's."""
    root = path.rsplit("/", 2)[0]
    state = read_synced_state(disk, StorePaths(root).synced_offset)
    if state is not None and state.hash_slot_num:
        return state.hash_slot_num
    if disk.size(path) == index_file_size(_DEFAULT_SLOTS, _DEFAULT_ENTRIES):
        return _DEFAULT_SLOTS
    return None


def read_checkpoint(disk: Disk, path: str) -> Checkpoint:
    return decode_checkpoint(disk.read_file(path))


def read_synced_state(disk: Disk, path: str) -> SyncedState | None:
    """Our synced-offset file; None when it is missing or cannot be read."""
    if not disk.exists(path):
        return None
    try:
        return decode_synced_state(disk.read_file(path))
    except ValueError:
        return None
