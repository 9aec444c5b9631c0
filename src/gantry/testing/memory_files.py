"""Open files of a MemoryDisk, mappings and locks."""

from __future__ import annotations

import errno
import os
import posixpath
from typing import TYPE_CHECKING

from gantry.errors import DiskError
from gantry.runtime.system_file import disk_error

from .memory_faults import PowerCut
from .memory_nodes import ZEROS, Node, fault

if TYPE_CHECKING:
    from .memory_disk import MemoryDisk


class MemoryFile:
    """An open file of a MemoryDisk; invalid after a crash."""

    def __init__(self, disk: MemoryDisk, path: str, node: Node, *, writable: bool) -> None:
        self.path = path
        self._disk = disk
        self._node = node
        self._writable = writable
        self._epoch = disk.epoch
        self._open = True

    @property
    def size(self) -> int:
        return self._node.size

    @property
    def poisoned(self) -> bool:
        return self._node.poisoned

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        self._check("pwrite", changing=True)
        view = memoryview(data).cast("B")
        try:
            rule = self._disk.gate("pwrite", self.path)
        except PowerCut:
            if self._disk.torn:
                self._disk.torn = False
                self._node.write(view[: len(view) // 2], offset, self._disk.now_ms())
            raise
        if rule is not None:
            self._node.write(view[: len(view) // 2], offset, self._disk.now_ms())
            raise disk_error(self.path, "pwrite", OSError(rule.errno, os.strerror(rule.errno)))
        self._disk.occupy(self._node, offset, len(view), self.path, "pwrite")
        self._node.write(view, offset, self._disk.now_ms())

    def pread(self, length: int, offset: int) -> bytes:
        self._check("pread")
        self._disk.gate("pread", self.path)
        return bytes(self._node.seen[offset : min(offset + length, self._node.size)])

    def data_after(self, offset: int) -> int:
        self._check("pread")
        seen, size = self._node.seen, self._node.size
        for begin in range(offset, size, len(ZEROS)):
            part = bytes(seen[begin : min(begin + len(ZEROS), size)])
            if part != ZEROS[: len(part)]:
                return begin + len(part) - len(part.lstrip(b"\0"))
        return max(size, offset)

    def pread_nowait(self, length: int, offset: int) -> bytes | None:
        self._check("pread")
        if self._disk.cold:
            return None
        return self.pread(length, offset)

    def sync(self) -> None:
        self._check("sync", changing=True)
        try:
            self._disk.gate("sync", self.path)
        except DiskError:
            self._node.poisoned = True
            raise
        self._node.sync()

    def allocate(self, offset: int, length: int) -> None:
        self._check("allocate", changing=True)
        self._disk.gate("allocate", self.path)
        self._disk.occupy(self._node, offset, length, self.path, "allocate")
        if length > 0 and offset + length > self._node.size:
            self._node.set_size(offset + length, self._disk.now_ms())

    def prefault(self, offset: int, length: int) -> None:
        self._check("prefault")
        self._disk.gate("prefault", self.path)

    def map(self) -> MemoryMapping:
        self._check("map", changing=True)
        self._disk.gate("map", self.path)
        if self._node.size == 0:
            raise fault(self.path, "map", errno.EINVAL)
        return MemoryMapping(self, self._node)

    def truncate(self, size: int) -> None:
        self._check("truncate", changing=True)
        self._disk.gate("truncate", self.path)
        self._node.set_size(size, self._disk.now_ms())

    def close(self) -> None:
        self._open = False

    def _check(self, op: str, *, changing: bool = False) -> None:
        if not self._open or self._epoch != self._disk.epoch or (changing and not self._writable):
            raise fault(self.path, op, errno.EBADF)
        if changing and self._node.poisoned:
            raise fault(self.path, op, errno.EIO)


class MemoryMapping:
    """A view of a MemoryFile's bytes; what is written through it counts as unsynced until sync()."""

    def __init__(self, file: MemoryFile, node: Node) -> None:
        self._file = file
        self._node = node
        self._whole: memoryview | None = memoryview(node.seen)
        self._view: memoryview | None = self._whole[: node.size]
        node.mapped = True
        node.map_count += 1

    @property
    def view(self) -> memoryview:
        if self._view is None:
            raise fault(self._file.path, "map", errno.EBADF)
        return self._view

    def sync(self) -> None:
        if self._view is None:
            raise fault(self._file.path, "sync", errno.EBADF)
        # As the mapping of a closed file still syncs.
        was_open, self._file._open = self._file._open, True
        try:
            self._file.sync()
        finally:
            self._file._open = was_open

    def close(self) -> None:
        if self._view is not None:
            self._view = self._whole = None
            self._node.map_count -= 1


class MemoryLock:
    """A held lock of a MemoryDisk."""

    def __init__(self, disk: MemoryDisk, path: str) -> None:
        self.path = path
        self._disk = disk
        self._epoch = disk.epoch

    def release(self) -> None:
        if self._epoch == self._disk.epoch:
            self._disk.locks.discard(posixpath.normpath(self.path))
