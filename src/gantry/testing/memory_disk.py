"""A disk in memory that knows what a power cut would leave of it.

Model. A file has its content as processes see it and its content as the medium holds it, which only sync brings
together, in sectors of 512 bytes. A directory change (create, rename, link, unlink, make_dirs, rmdir) is one atomic
operation, on the medium only after sync_dir of a directory it touches. crash() keeps all, none or any subset of what
was not synced: sectors, lengths and directory operations each by themselves, as POSIX allows and real file systems do.

Faults. Every primitive passes one gate, which counts it, may fail it by a rule (`fail`), or cut the power just before it
(`cut_power_at`): then it and every later one raise PowerCut, until crash() brings the machine up again.
"""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from gantry.errors import DiskError, StoreLocked
from gantry.runtime.clock import Clock
from gantry.runtime.disk import DiskUsage
from gantry.runtime.replace import replace_file
from gantry.runtime.rng import Rng
from gantry.runtime.system_file import disk_error

from .memory_faults import FaultGate
from .memory_files import MemoryFile, MemoryLock
from .memory_nodes import BLOCK_BYTES, Dir, DirChange, Keep, Node, all_nodes, fault, tree_after_crash

T = TypeVar("T")

_ROOM_UNLIMITED = 1 << 40


class MemoryDisk(FaultGate):
    """Implements the Disk door in memory; see the module.

    `capacity_bytes` bounds what files may occupy (sparse parts occupy nothing). `cold` makes pread_nowait answer None.
    `before_run` is awaited by run() before the work is done: tests hold or delay it there.
    """

    def __init__(self, *, clock: Clock | None = None, capacity_bytes: int | None = None) -> None:
        super().__init__()
        self.capacity_bytes = capacity_bytes
        self.cold = False
        self.before_run: Callable[[], Awaitable[object]] | None = None
        self._clock = clock
        self._root = Dir()
        self._journal: list[DirChange] = []
        self.locks: set[str] = set()
        self.epoch = 0

    # -- what tests do to it ------------------------------------------------------------------------------------------

    def crash(self, rng: Rng | None = None, keep: Keep = "none") -> None:
        """The process dies (keep="all") or the power fails ("none", or "subset" as `rng` chooses), and the machine comes
        up again: open files and locks are gone, what is seen from now on is what the medium holds."""
        self._root = tree_after_crash(self._root, self._journal, rng, keep)
        self._journal = []
        self.locks = set()
        self.epoch += 1
        self.power_on()

    def crashed_copy(self, rng: Rng | None = None, keep: Keep = "none") -> MemoryDisk:
        """What crash() would leave, as another disk; this one goes on."""
        other = MemoryDisk(clock=self._clock, capacity_bytes=self.capacity_bytes)
        other._root = tree_after_crash(self._root, self._journal, rng, keep)
        return other

    def flip_bit(self, path: str, offset: int, bit: int = 0) -> None:
        """Damage one bit, as seen and on the medium."""
        node = self._file_node(path, "flip_bit")
        node.seen[offset] ^= 1 << bit
        if offset < len(node.medium):
            node.medium[offset] ^= 1 << bit

    # -- Disk ---------------------------------------------------------------------------------------------------------

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        if self.before_run is None:
            await asyncio.sleep(0)
        else:
            await self.before_run()
        return fn(*args)

    def open(self, path: str, *, create: bool = False, size: int | None = None, writable: bool = True) -> MemoryFile:
        self.gate("open", path)
        node, created = self._open_node(path, create=create)
        file = MemoryFile(self, path, node, writable=writable)
        if create and size is not None and node.size < size:
            try:
                self.gate("allocate", path)
                self.occupy(node, 0, size, path, "allocate")
            except DiskError:
                if created:
                    self.unlink(path)
                raise
            node.set_size(size, self.now_ms())
        return file

    def open_sparse(self, path: str, size: int) -> MemoryFile:
        self.gate("open", path)
        node, _ = self._open_node(path, create=True)
        if node.size < size:
            self.gate("truncate", path)
            node.set_size(size, self.now_ms())
        return MemoryFile(self, path, node, writable=True)

    def exists(self, path: str) -> bool:
        self.gate("stat", path)
        return self._find(path) is not None

    def is_dir(self, path: str) -> bool:
        self.gate("stat", path)
        return isinstance(self._find(path), Dir)

    def list_dir(self, path: str) -> list[str]:
        self.gate("list_dir", path)
        return sorted(self._dir(path, "list_dir").seen)

    def make_dirs(self, path: str) -> None:
        here = self._root
        for name in _parts(path):
            found = here.seen.get(name)
            if found is None:
                self.gate("make_dirs", path)
                found = Dir()
                self._change([(here, name, found)])
            elif isinstance(found, Node):
                raise fault(path, "make_dirs", errno.EEXIST)
            here = found

    def rename(self, old: str, new: str) -> None:
        self.gate("rename", old)
        old_dir, old_name, item = self._entry(old, "rename")
        new_dir, new_name = self._parent(new, "rename")
        target = new_dir.seen.get(new_name)
        if target is item:
            return
        if isinstance(target, Dir):
            if not isinstance(item, Dir):
                raise fault(new, "rename", errno.EISDIR)
            if target.seen:
                raise fault(new, "rename", errno.ENOTEMPTY)
        elif isinstance(target, Node):
            if isinstance(item, Dir):
                raise fault(new, "rename", errno.ENOTDIR)
            target.links -= 1
        self._change([(old_dir, old_name, None), (new_dir, new_name, item)])

    def link(self, old: str, new: str) -> None:
        self.gate("link", new)
        node = self._file_node(old, "link")
        directory, name = self._parent(new, "link")
        if name in directory.seen:
            raise fault(new, "link", errno.EEXIST)
        node.links += 1
        self._change([(directory, name, node)])

    def unlink(self, path: str) -> None:
        self.gate("unlink", path)
        directory, name, item = self._entry(path, "unlink")
        if isinstance(item, Dir):
            raise fault(path, "unlink", errno.EISDIR)
        item.links -= 1
        self._change([(directory, name, None)])

    def rmdir(self, path: str) -> None:
        self.gate("rmdir", path)
        directory, name, item = self._entry(path, "rmdir")
        if isinstance(item, Node):
            raise fault(path, "rmdir", errno.ENOTDIR)
        if item.seen:
            raise fault(path, "rmdir", errno.ENOTEMPTY)
        self._change([(directory, name, None)])

    def sync_dir(self, path: str) -> None:
        self.gate("sync_dir", path)
        directory = self._dir(path, "sync_dir")
        rest = []
        for change in self._journal:
            if any(where is directory for where, _, _ in change.changes):
                change.apply()
            else:
                rest.append(change)
        self._journal = rest

    def sync_all(self, path: str) -> None:
        self._find_any(path, "sync_all")
        nodes = list(all_nodes(self._root))
        try:
            self.gate("sync_all", path)
        except DiskError:
            for node in nodes:
                if node.dirty or node.sizes or node.mapped:
                    node.poisoned = True
            raise
        for node in nodes:
            node.sync()
        for change in self._journal:
            change.apply()
        self._journal = []

    def size(self, path: str) -> int:
        self.gate("stat", path)
        return self._file_node(path, "stat").size

    def mtime_ms(self, path: str) -> int:
        self.gate("stat", path)
        return self._file_node(path, "stat").mtime_ms

    def set_mtime_ms(self, path: str, mtime_ms: int) -> None:
        self.gate("utime", path)
        self._file_node(path, "utime").mtime_ms = mtime_ms

    def usage(self, path: str) -> DiskUsage:
        self.gate("usage", path)
        total = self.capacity_bytes if self.capacity_bytes is not None else _ROOM_UNLIMITED
        used = self.used_bytes()
        return DiskUsage(total=total, used=used, free=max(total - used, 0))

    def lock(self, path: str) -> MemoryLock:
        self.gate("lock", path)
        key = posixpath.normpath(path)
        if key in self.locks:
            raise StoreLocked(f"{path} is already held by this process; one store belongs to one broker")
        self._open_node(path, create=True)
        self.locks.add(key)
        return MemoryLock(self, path)

    def read_file(self, path: str) -> bytes:
        file = self.open(path, writable=False)
        try:
            return file.pread(file.size, 0)
        finally:
            file.close()

    def replace_file(self, path: str, data: bytes, *, keep_backup: bool = True, checksum_path: str | None = None) -> None:
        replace_file(self, path, data, keep_backup=keep_backup, checksum_path=checksum_path)

    # -- names --------------------------------------------------------------------------------------------------------

    def _find(self, path: str) -> Node | Dir | None:
        here: Node | Dir = self._root
        for name in _parts(path):
            if not isinstance(here, Dir):
                return None
            found = here.seen.get(name)
            if found is None:
                return None
            here = found
        return here

    def _dir(self, path: str, op: str) -> Dir:
        found = self._find(path)
        if found is None:
            raise fault(path, op, errno.ENOENT)
        if isinstance(found, Node):
            raise fault(path, op, errno.ENOTDIR)
        return found

    def _parent(self, path: str, op: str) -> tuple[Dir, str]:
        *_, name = _parts(path) or [""]
        if not name:
            raise fault(path, op, errno.EINVAL)
        parent = self._find(posixpath.dirname(posixpath.normpath(path)))
        if parent is None:
            raise fault(path, op, errno.ENOENT)
        if isinstance(parent, Node):
            raise fault(path, op, errno.ENOTDIR)
        return parent, name

    def _entry(self, path: str, op: str) -> tuple[Dir, str, Node | Dir]:
        directory, name = self._parent(path, op)
        item = directory.seen.get(name)
        if item is None:
            raise fault(path, op, errno.ENOENT)
        return directory, name, item

    def _find_any(self, path: str, op: str) -> None:
        if self._find(path) is None:
            raise fault(path, op, errno.ENOENT)

    def _file_node(self, path: str, op: str) -> Node:
        item = self._find(path)
        if item is None:
            raise fault(path, op, errno.ENOENT)
        if isinstance(item, Dir):
            raise fault(path, op, errno.EISDIR)
        return item

    def _open_node(self, path: str, *, create: bool) -> tuple[Node, bool]:
        directory, name = self._parent(path, "open")
        item = directory.seen.get(name)
        if item is None:
            if not create:
                raise fault(path, "open", errno.ENOENT)
            self.gate("create", path)
            item = Node(links=1, mtime_ms=self.now_ms())
            self._change([(directory, name, item)])
            return item, True
        if isinstance(item, Dir):
            raise fault(path, "open", errno.EISDIR)
        return item, False

    def _change(self, changes: list[tuple[Dir, str, Node | Dir | None]]) -> None:
        for directory, name, item in changes:
            if item is None:
                directory.seen.pop(name, None)
            else:
                directory.seen[name] = item
        self._journal.append(DirChange(changes))

    # -- content ------------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        return self._clock.now_ms() if self._clock is not None else 0

    def occupy(self, node: Node, offset: int, length: int, path: str, op: str) -> None:
        """Counts blocks of a file that is about to have bytes there. Raises: DiskFull when they do not fit."""
        if length <= 0:
            return
        blocks = range(offset // BLOCK_BYTES, (offset + length - 1) // BLOCK_BYTES + 1)
        new = [block for block in blocks if block not in node.blocks]
        if self.capacity_bytes is not None and self.used_bytes() + len(new) * BLOCK_BYTES > self.capacity_bytes:
            raise disk_error(path, op, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        node.blocks.update(new)

    def used_bytes(self) -> int:
        return sum(len(node.blocks) for node in all_nodes(self._root)) * BLOCK_BYTES


def _parts(path: str) -> list[str]:
    return [name for name in posixpath.normpath(path).split("/") if name not in ("", ".")]
