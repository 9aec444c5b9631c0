"""The wheel in memory and its file."""

from __future__ import annotations

from collections.abc import Iterator

from gantry.protocol.disk.timer_wheel_slot import SLOT, SLOT_SIZE, WheelSlot, decode_slot
from gantry.runtime.disk import Disk, DiskFile

_BLOCK = 4096
_BLOCK_SLOTS = _BLOCK // SLOT_SIZE
_BLANK_BLOCK = bytes(_BLOCK)


class TimerWheel:
    """Slots by time; changes stay in memory until flush().

    Memory: 32 bytes a slot, 38.7 MB at most, of which the system gives what was touched. A slot lies within one sector, so
    a power cut leaves the old or the new one, never a mixture.
    """

    def __init__(self, disk: Disk, path: str, *, slot_count: int, precision_ms: int) -> None:
        self.path = path
        self.slot_count = slot_count
        self.precision_ms = precision_ms
        self._disk = disk
        self._data = bytearray()
        self._dirty: set[int] = set()
        self._file: DiskFile | None = None

    @property
    def size(self) -> int:
        return self.slot_count * SLOT_SIZE

    @property
    def dirty(self) -> bool:
        return bool(self._dirty)

    def load(self) -> bool:
        """Reads the file; False when there is none of the right length. Blocking."""
        if not self._disk.exists(self.path) or self._disk.size(self.path) != self.size:
            return False
        self._data = bytearray(self.size)
        file = self._disk.open(self.path)
        at = file.data_after(0)
        while at < self.size:
            at -= at % _BLOCK
            data = file.pread(min(256 * _BLOCK, self.size - at), at)
            if data != bytes(len(data)):
                self._data[at : at + len(data)] = data
            at = file.data_after(at + len(data))
        self._file = file
        return True

    def remove(self) -> None:
        """Gives up file and content. Blocking."""
        self.close()
        self._data = bytearray()
        self._dirty.clear()
        if self._disk.exists(self.path):
            self._disk.unlink(self.path)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def raw(self, time_ms: int) -> WheelSlot:
        """What the place of this time holds, whichever time it is of."""
        if not self._data:
            return WheelSlot(0, 0, 0, 0)
        return decode_slot(self._data, time_ms // self.precision_ms % self.slot_count * SLOT_SIZE)

    def get(self, time_ms: int) -> WheelSlot | None:
        """The slot of this time; None when nothing was ever due then."""
        slot = self.raw(time_ms)
        return slot if slot.tick == time_ms // self.precision_ms and slot.tick else None

    def put(self, time_ms: int, first_position: int, last_position: int, count: int) -> None:
        if not self._data:
            self._data = bytearray(self.size)
        tick = time_ms // self.precision_ms
        index = tick % self.slot_count
        SLOT.pack_into(self._data, index * SLOT_SIZE, tick, first_position, last_position, count, 0)
        self._dirty.add(index // _BLOCK_SLOTS)

    def clear(self, begin_ms: int, end_ms: int) -> None:
        """Forgets the slots of [begin, end), and no other that shares their places."""
        if not self._data:
            return
        tick, end = begin_ms // self.precision_ms, end_ms // self.precision_ms
        first, count = tick, min(end - tick, self.slot_count)
        while count > 0:
            index = tick % self.slot_count
            taken = min(_BLOCK_SLOTS - index % _BLOCK_SLOTS, count, self.slot_count - index)
            for at in range(index * SLOT_SIZE, (index + taken) * SLOT_SIZE, SLOT_SIZE):
                if first <= decode_slot(self._data, at).tick < end:
                    self._data[at : at + SLOT_SIZE] = bytes(SLOT_SIZE)
                    self._dirty.add(at // _BLOCK)
            tick += taken
            count -= taken

    def skip_blank(self, time_ms: int) -> int:
        """A later time such that every slot from `time_ms` up to it was never used; `time_ms` when its own block was."""
        tick = time_ms // self.precision_ms
        index = tick % self.slot_count
        at = index // _BLOCK_SLOTS * _BLOCK
        if self._data and self._data[at : at + _BLOCK] != _BLANK_BLOCK[: self.size - at]:
            return time_ms
        return (tick + min(_BLOCK_SLOTS - index % _BLOCK_SLOTS, self.slot_count - index)) * self.precision_ms

    def pending(self, from_ms: int) -> Iterator[WheelSlot]:
        """Slots of this time and later, in the order of the file. Some tenths of a second for a whole wheel."""
        first = from_ms // self.precision_ms
        for at in range(0, len(self._data), _BLOCK):
            block = self._data[at : at + _BLOCK]
            if block != _BLANK_BLOCK[: len(block)]:
                yield from (slot for slot in map(WheelSlot._make, SLOT.iter_unpack(block)) if slot.tick >= first and slot.tick)

    def flush(self) -> None:
        """Every change is on the disk. Blocking. Raises: DiskError; then the changes stay to be written."""
        if self._file is None:
            if not self._dirty:
                return
            self._file = self._disk.open_sparse(self.path, self.size)
            self._file.sync()
            self._disk.sync_dir(self.path[: self.path.rindex("/")])
        for block in sorted(self._dirty):
            self._file.pwrite(bytes(self._data[block * _BLOCK : (block + 1) * _BLOCK]), block * _BLOCK)
        self._file.sync()
        self._dirty.clear()
