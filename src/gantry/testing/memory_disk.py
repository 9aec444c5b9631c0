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
import mmap
import os
import posixpath
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from gantry.errors import DiskError, DiskFault, StoreLocked
from gantry.runtime.clock import Clock
from gantry.runtime.disk import DiskUsage
from gantry.runtime.replace import replace_file
from gantry.runtime.rng import Rng
from gantry.runtime.system_file import disk_error

T = TypeVar("T")
Keep = Literal["none", "all", "subset"]
Buffer = bytearray | mmap.mmap

SECTOR_BYTES = 512
_BLOCK_BYTES = 4096
_LAZY_MIN_BYTES = 1 << 20
_ROOM_UNLIMITED = 1 << 40
_READING = frozenset(("open", "pread", "list_dir", "stat", "usage", "map", "prefault", "lock"))


class PowerCut(BaseException):
    """The simulated machine has lost its power. No ordinary handler catches it, as no handler would run."""


@dataclass
class FaultRule:
    """Fails operations named `op` whose path contains `path_part`: the `nth` and, by `times`, those that follow."""

    op: str
    errno: int
    nth: int
    times: int
    path_part: str
    partial: bool
    seen_count: int = 0

    @property
    def spent(self) -> bool:
        return self.seen_count >= self.nth + self.times - 1


@dataclass(eq=False)
class _Node:
    """A file's content: as seen, and on the medium."""

    seen: Buffer = field(default_factory=bytearray)
    size: int = 0
    medium: Buffer = field(default_factory=bytearray)
    medium_size: int = 0
    dirty: set[int] = field(default_factory=set)
    sizes: list[int] = field(default_factory=list)
    """Lengths since the last sync, any of which a crash may leave."""
    mapped: bool = False
    """Written through a mapping since the last sync, maybe: dirty sectors are found by comparing."""
    map_count: int = 0
    blocks: set[int] = field(default_factory=set)
    poisoned: bool = False
    mtime_ms: int = 0
    links: int = 0


@dataclass(eq=False)
class _Dir:
    seen: dict[str, _Node | _Dir] = field(default_factory=dict)
    medium: dict[str, _Node | _Dir] = field(default_factory=dict)


@dataclass(eq=False)
class _DirChange:
    """One atomic change of names; None removes the name."""

    changes: list[tuple[_Dir, str, _Node | _Dir | None]]


class MemoryDisk:
    """Implements the Disk door in memory; see the module.

    `capacity_bytes` bounds what files may occupy (sparse parts occupy nothing). `cold` makes pread_nowait answer None.
    `before_run` is awaited by run() before the work is done: tests hold or delay it there.
    """

    def __init__(self, *, clock: Clock | None = None, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.cold = False
        self.before_run: Callable[[], Awaitable[object]] | None = None
        self.counts: Counter[str] = Counter()
        self.trace: list[tuple[str, str]] | None = None
        """Set it to a list to record every operation that changes something, as (op, path)."""
        self._clock = clock
        self._root = _Dir()
        self._journal: list[_DirChange] = []
        self._rules: list[FaultRule] = []
        self._locks: set[str] = set()
        self._epoch = 0
        self._cut_at: int | None = None
        self._torn = False
        self._off = False
        self._step_count = 0

    # -- what tests do to it ------------------------------------------------------------------------------------------

    @property
    def step_count(self) -> int:
        """Operations so far that change something: the points at which the power can be cut."""
        return self._step_count

    @property
    def is_off(self) -> bool:
        """The power was cut; crash() brings the machine up again."""
        return self._off

    def fail(
        self,
        op: str,
        *,
        error: int = errno.EIO,
        nth: int = 1,
        times: int = 1,
        path_part: str = "",
        partial: bool = False,
    ) -> FaultRule:
        """Let the nth operation of this name from now on fail with an errno, and `times - 1` after it.

        Names: open create allocate pwrite pread sync truncate prefault map rename link unlink rmdir make_dirs list_dir
        stat utime usage sync_dir lock. `partial`: half of the bytes of a pwrite are written before it fails.
        """
        rule = FaultRule(op, error, nth, times, path_part, partial)
        self._rules.append(rule)
        return rule

    def heal(self) -> None:
        """Forget all fault rules."""
        self._rules.clear()

    def cut_power_at(self, step: int, *, torn: bool = False) -> None:
        """Cut the power before the operation that would make step_count equal `step`.

        `torn`: when it is a pwrite, its first half has still reached the page cache.
        """
        self._cut_at = step
        self._torn = torn

    def crash(self, rng: Rng | None = None, keep: Keep = "none") -> None:
        """The process dies (keep="all") or the power fails ("none", or "subset" as `rng` chooses), and the machine comes
        up again: open files and locks are gone, what is seen from now on is what the medium holds."""
        self._root = self._after_crash(rng, keep)
        self._journal = []
        self._locks = set()
        self._epoch += 1
        self._off = False
        self._cut_at = None

    def crashed_copy(self, rng: Rng | None = None, keep: Keep = "none") -> MemoryDisk:
        """What crash() would leave, as another disk; this one goes on."""
        other = MemoryDisk(clock=self._clock, capacity_bytes=self.capacity_bytes)
        other._root = self._after_crash(rng, keep)
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
        self._gate("open", path)
        node, created = self._open_node(path, create=create)
        file = MemoryFile(self, path, node, writable=writable)
        if create and size is not None and node.size < size:
            try:
                self._gate("allocate", path)
                self._occupy(node, 0, size, path, "allocate")
            except DiskError:
                if created:
                    self.unlink(path)
                raise
            self._set_size(node, size)
        return file

    def open_sparse(self, path: str, size: int) -> MemoryFile:
        self._gate("open", path)
        node, _ = self._open_node(path, create=True)
        if node.size < size:
            self._gate("truncate", path)
            self._set_size(node, size)
        return MemoryFile(self, path, node, writable=True)

    def exists(self, path: str) -> bool:
        self._gate("stat", path)
        return self._find(path) is not None

    def is_dir(self, path: str) -> bool:
        self._gate("stat", path)
        return isinstance(self._find(path), _Dir)

    def list_dir(self, path: str) -> list[str]:
        self._gate("list_dir", path)
        return sorted(self._dir(path, "list_dir").seen)

    def make_dirs(self, path: str) -> None:
        here = self._root
        for name in _parts(path):
            found = here.seen.get(name)
            if found is None:
                self._gate("make_dirs", path)
                found = _Dir()
                self._change([(here, name, found)])
            elif isinstance(found, _Node):
                raise _fault(path, "make_dirs", errno.EEXIST)
            here = found

    def rename(self, old: str, new: str) -> None:
        self._gate("rename", old)
        old_dir, old_name, item = self._entry(old, "rename")
        new_dir, new_name = self._parent(new, "rename")
        target = new_dir.seen.get(new_name)
        if target is item:
            return
        if isinstance(target, _Dir):
            if not isinstance(item, _Dir):
                raise _fault(new, "rename", errno.EISDIR)
            if target.seen:
                raise _fault(new, "rename", errno.ENOTEMPTY)
        elif isinstance(target, _Node):
            if isinstance(item, _Dir):
                raise _fault(new, "rename", errno.ENOTDIR)
            target.links -= 1
        self._change([(old_dir, old_name, None), (new_dir, new_name, item)])

    def link(self, old: str, new: str) -> None:
        self._gate("link", new)
        node = self._file_node(old, "link")
        directory, name = self._parent(new, "link")
        if name in directory.seen:
            raise _fault(new, "link", errno.EEXIST)
        node.links += 1
        self._change([(directory, name, node)])

    def unlink(self, path: str) -> None:
        self._gate("unlink", path)
        directory, name, item = self._entry(path, "unlink")
        if isinstance(item, _Dir):
            raise _fault(path, "unlink", errno.EISDIR)
        item.links -= 1
        self._change([(directory, name, None)])

    def rmdir(self, path: str) -> None:
        self._gate("rmdir", path)
        directory, name, item = self._entry(path, "rmdir")
        if isinstance(item, _Node):
            raise _fault(path, "rmdir", errno.ENOTDIR)
        if item.seen:
            raise _fault(path, "rmdir", errno.ENOTEMPTY)
        self._change([(directory, name, None)])

    def sync_dir(self, path: str) -> None:
        self._gate("sync_dir", path)
        directory = self._dir(path, "sync_dir")
        rest = []
        for change in self._journal:
            if any(where is directory for where, _, _ in change.changes):
                _apply(change)
            else:
                rest.append(change)
        self._journal = rest

    def sync_all(self, path: str) -> None:
        self._find_any(path, "sync_all")
        nodes = list(_nodes(self._root))
        try:
            self._gate("sync_all", path)
        except DiskError:
            for node in nodes:
                if node.dirty or node.sizes or node.mapped:
                    node.poisoned = True
            raise
        for node in nodes:
            self._sync(node)
        for change in self._journal:
            _apply(change)
        self._journal = []

    def size(self, path: str) -> int:
        self._gate("stat", path)
        return self._file_node(path, "stat").size

    def mtime_ms(self, path: str) -> int:
        self._gate("stat", path)
        return self._file_node(path, "stat").mtime_ms

    def set_mtime_ms(self, path: str, mtime_ms: int) -> None:
        self._gate("utime", path)
        self._file_node(path, "utime").mtime_ms = mtime_ms

    def usage(self, path: str) -> DiskUsage:
        self._gate("usage", path)
        total = self.capacity_bytes if self.capacity_bytes is not None else _ROOM_UNLIMITED
        used = self._used_bytes()
        return DiskUsage(total=total, used=used, free=max(total - used, 0))

    def lock(self, path: str) -> MemoryLock:
        self._gate("lock", path)
        key = posixpath.normpath(path)
        if key in self._locks:
            raise StoreLocked(f"{path} is already held by this process; one store belongs to one broker")
        self._open_node(path, create=True)
        self._locks.add(key)
        return MemoryLock(self, path)

    def read_file(self, path: str) -> bytes:
        file = self.open(path, writable=False)
        try:
            return file.pread(file.size, 0)
        finally:
            file.close()

    def replace_file(self, path: str, data: bytes, *, keep_backup: bool = True, checksum_path: str | None = None) -> None:
        replace_file(self, path, data, keep_backup=keep_backup, checksum_path=checksum_path)

    # -- the gate -----------------------------------------------------------------------------------------------------

    def _gate(self, op: str, path: str) -> FaultRule | None:
        """Count one operation, and fail it when it is its turn; a rule for a partial pwrite is returned instead."""
        if self._off:
            raise PowerCut
        self.counts[op] += 1
        if op not in _READING:
            if self._cut_at is not None and self._step_count + 1 >= self._cut_at:
                self._off = True
                raise PowerCut
            self._step_count += 1
            if self.trace is not None:
                self.trace.append((op, path))
        for rule in self._rules:
            if rule.op == op and rule.path_part in path and not rule.spent:
                rule.seen_count += 1
                if rule.seen_count >= rule.nth:
                    if rule.partial:
                        return rule
                    raise disk_error(path, op, OSError(rule.errno, os.strerror(rule.errno)))
        return None

    # -- names --------------------------------------------------------------------------------------------------------

    def _find(self, path: str) -> _Node | _Dir | None:
        here: _Node | _Dir = self._root
        for name in _parts(path):
            if not isinstance(here, _Dir):
                return None
            found = here.seen.get(name)
            if found is None:
                return None
            here = found
        return here

    def _dir(self, path: str, op: str) -> _Dir:
        found = self._find(path)
        if found is None:
            raise _fault(path, op, errno.ENOENT)
        if isinstance(found, _Node):
            raise _fault(path, op, errno.ENOTDIR)
        return found

    def _parent(self, path: str, op: str) -> tuple[_Dir, str]:
        *_, name = _parts(path) or [""]
        if not name:
            raise _fault(path, op, errno.EINVAL)
        parent = self._find(posixpath.dirname(posixpath.normpath(path)))
        if parent is None:
            raise _fault(path, op, errno.ENOENT)
        if isinstance(parent, _Node):
            raise _fault(path, op, errno.ENOTDIR)
        return parent, name

    def _entry(self, path: str, op: str) -> tuple[_Dir, str, _Node | _Dir]:
        directory, name = self._parent(path, op)
        item = directory.seen.get(name)
        if item is None:
            raise _fault(path, op, errno.ENOENT)
        return directory, name, item

    def _find_any(self, path: str, op: str) -> None:
        if self._find(path) is None:
            raise _fault(path, op, errno.ENOENT)

    def _file_node(self, path: str, op: str) -> _Node:
        item = self._find(path)
        if item is None:
            raise _fault(path, op, errno.ENOENT)
        if isinstance(item, _Dir):
            raise _fault(path, op, errno.EISDIR)
        return item

    def _open_node(self, path: str, *, create: bool) -> tuple[_Node, bool]:
        directory, name = self._parent(path, "open")
        item = directory.seen.get(name)
        if item is None:
            if not create:
                raise _fault(path, "open", errno.ENOENT)
            self._gate("create", path)
            item = _Node(links=1, mtime_ms=self._now_ms())
            self._change([(directory, name, item)])
            return item, True
        if isinstance(item, _Dir):
            raise _fault(path, "open", errno.EISDIR)
        return item, False

    def _change(self, changes: list[tuple[_Dir, str, _Node | _Dir | None]]) -> None:
        for directory, name, item in changes:
            if item is None:
                directory.seen.pop(name, None)
            else:
                directory.seen[name] = item
        self._journal.append(_DirChange(changes))

    # -- content ------------------------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return self._clock.now_ms() if self._clock is not None else 0

    def _set_size(self, node: _Node, size: int) -> None:
        old = node.size
        if size > old:
            # Zeros on both sides: nothing becomes dirty but the length.
            node.seen = _grown(node.seen, size, node)
        else:
            node.seen[size:old] = bytes(old - size)
            node.blocks = {block for block in node.blocks if block * _BLOCK_BYTES < size}
            node.dirty.update(range(size // SECTOR_BYTES, -(-old // SECTOR_BYTES)))
        if size != old:
            node.sizes.append(size)
            node.size = size
            node.mtime_ms = self._now_ms()

    def _write(self, node: _Node, data: bytes | memoryview, offset: int) -> None:
        end = offset + len(data)
        if len(data):
            if end > node.size:
                self._set_size(node, end)
            node.seen[offset:end] = bytes(data)
            node.dirty.update(range(offset // SECTOR_BYTES, (end - 1) // SECTOR_BYTES + 1))
            node.mtime_ms = self._now_ms()

    def _occupy(self, node: _Node, offset: int, length: int, path: str, op: str) -> None:
        if length <= 0:
            return
        blocks = range(offset // _BLOCK_BYTES, (offset + length - 1) // _BLOCK_BYTES + 1)
        new = [block for block in blocks if block not in node.blocks]
        if self.capacity_bytes is not None and self._used_bytes() + len(new) * _BLOCK_BYTES > self.capacity_bytes:
            raise disk_error(path, op, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        node.blocks.update(new)

    def _used_bytes(self) -> int:
        return sum(len(node.blocks) for node in _nodes(self._root)) * _BLOCK_BYTES

    def _sync(self, node: _Node) -> None:
        if len(node.medium) < node.size:
            node.medium = _grown(node.medium, node.size, None)
        for sector in _dirty_sectors(node):
            begin = sector * SECTOR_BYTES
            end = min(begin + SECTOR_BYTES, len(node.medium))
            if begin < end:
                part = bytes(node.seen[begin : min(end, node.size)])
                node.medium[begin:end] = part.ljust(end - begin, b"\0")
        node.medium_size = node.size
        node.dirty.clear()
        node.sizes.clear()
        node.mapped = node.map_count > 0

    # -- after a crash ------------------------------------------------------------------------------------------------

    def _after_crash(self, rng: Rng | None, keep: Keep) -> _Dir:
        if keep == "subset" and rng is None:
            raise ValueError("a subset needs an rng to choose it")
        names: dict[_Dir, dict[str, _Node | _Dir]] = {}

        def listing(directory: _Dir) -> dict[str, _Node | _Dir]:
            return names.setdefault(directory, dict(directory.medium))

        for change in self._journal:
            if keep == "all" or (keep == "subset" and rng is not None and rng.random() < 0.5):
                for directory, name, item in change.changes:
                    if item is None:
                        listing(directory).pop(name, None)
                    else:
                        listing(directory)[name] = item
        copies: dict[_Node | _Dir, _Node | _Dir] = {}

        def copy_dir(directory: _Dir) -> _Dir:
            made = copies.get(directory)
            if isinstance(made, _Dir):
                return made
            new = _Dir()
            copies[directory] = new
            for name in sorted(listing(directory)):
                item = listing(directory)[name]
                new.seen[name] = copy_dir(item) if isinstance(item, _Dir) else copy_node(item)
            new.medium = dict(new.seen)
            return new

        def copy_node(node: _Node) -> _Node:
            made = copies.get(node)
            if isinstance(made, _Node):
                made.links += 1
                return made
            new = _node_after_crash(node, rng, keep)
            copies[node] = new
            return new

        return copy_dir(self._root)


class MemoryFile:
    """An open file of a MemoryDisk; invalid after a crash."""

    def __init__(self, disk: MemoryDisk, path: str, node: _Node, *, writable: bool) -> None:
        self.path = path
        self._disk = disk
        self._node = node
        self._writable = writable
        self._epoch = disk._epoch
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
            rule = self._disk._gate("pwrite", self.path)
        except PowerCut:
            if self._disk._torn:
                self._disk._torn = False
                self._disk._write(self._node, view[: len(view) // 2], offset)
            raise
        if rule is not None:
            self._disk._write(self._node, view[: len(view) // 2], offset)
            raise disk_error(self.path, "pwrite", OSError(rule.errno, os.strerror(rule.errno)))
        self._disk._occupy(self._node, offset, len(view), self.path, "pwrite")
        self._disk._write(self._node, view, offset)

    def pread(self, length: int, offset: int) -> bytes:
        self._check("pread")
        self._disk._gate("pread", self.path)
        return bytes(self._node.seen[offset : min(offset + length, self._node.size)])

    def data_after(self, offset: int) -> int:
        self._check("pread")
        seen, size = self._node.seen, self._node.size
        for begin in range(offset, size, len(_ZEROS)):
            part = bytes(seen[begin : min(begin + len(_ZEROS), size)])
            if part != _ZEROS[: len(part)]:
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
            self._disk._gate("sync", self.path)
        except DiskError:
            self._node.poisoned = True
            raise
        self._disk._sync(self._node)

    def allocate(self, offset: int, length: int) -> None:
        self._check("allocate", changing=True)
        self._disk._gate("allocate", self.path)
        self._disk._occupy(self._node, offset, length, self.path, "allocate")
        if length > 0 and offset + length > self._node.size:
            self._disk._set_size(self._node, offset + length)

    def prefault(self, offset: int, length: int) -> None:
        self._check("prefault")
        self._disk._gate("prefault", self.path)

    def map(self) -> MemoryMapping:
        self._check("map", changing=True)
        self._disk._gate("map", self.path)
        if self._node.size == 0:
            raise _fault(self.path, "map", errno.EINVAL)
        return MemoryMapping(self, self._node)

    def truncate(self, size: int) -> None:
        self._check("truncate", changing=True)
        self._disk._gate("truncate", self.path)
        self._disk._set_size(self._node, size)

    def close(self) -> None:
        self._open = False

    def _check(self, op: str, *, changing: bool = False) -> None:
        if not self._open or self._epoch != self._disk._epoch or (changing and not self._writable):
            raise _fault(self.path, op, errno.EBADF)
        if changing and self._node.poisoned:
            raise _fault(self.path, op, errno.EIO)


class MemoryMapping:
    """A view of a MemoryFile's bytes; what is written through it counts as unsynced until sync()."""

    def __init__(self, file: MemoryFile, node: _Node) -> None:
        self._file = file
        self._node = node
        self._whole: memoryview | None = memoryview(node.seen)
        self._view: memoryview | None = self._whole[: node.size]
        node.mapped = True
        node.map_count += 1

    @property
    def view(self) -> memoryview:
        if self._view is None:
            raise _fault(self._file.path, "map", errno.EBADF)
        return self._view

    def sync(self) -> None:
        if self._view is None:
            raise _fault(self._file.path, "sync", errno.EBADF)
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
        self._epoch = disk._epoch

    def release(self) -> None:
        if self._epoch == self._disk._epoch:
            self._disk._locks.discard(posixpath.normpath(self.path))


def _fault(path: str, op: str, number: int) -> DiskFault:
    return DiskFault(path=path, op=op, errno=number, reason=os.strerror(number))


def _parts(path: str) -> list[str]:
    return [name for name in posixpath.normpath(path).split("/") if name not in ("", ".")]


def _apply(change: _DirChange) -> None:
    for directory, name, item in change.changes:
        if item is None:
            directory.medium.pop(name, None)
        else:
            directory.medium[name] = item


def _nodes(root: _Dir) -> Iterator[_Node]:
    seen: set[int] = set()
    stack = [root]
    while stack:
        for item in stack.pop().seen.values():
            if isinstance(item, _Dir):
                stack.append(item)
            elif id(item) not in seen:
                seen.add(id(item))
                yield item


_ZEROS = bytes(1 << 18)


def _make(size: int) -> Buffer:
    # Anonymous memory costs nothing until it is touched: a log file of its full length stays cheap.
    return bytearray(size) if size < _LAZY_MIN_BYTES else mmap.mmap(-1, size)


def _copy(target: Buffer, source: Buffer, size: int) -> None:
    """Into fresh memory; what is zero is not touched, so that a file full of holes stays cheap."""
    for begin in range(0, size, len(_ZEROS)):
        part = source[begin : min(begin + len(_ZEROS), size)]
        if part != _ZEROS[: len(part)]:
            target[begin : begin + len(part)] = part


def _grown(buffer: Buffer, size: int, node: _Node | None) -> Buffer:
    if len(buffer) >= size:
        return buffer
    if node is not None and node.map_count:
        raise _fault("a mapped file", "truncate", errno.EOPNOTSUPP)
    new = _make(max(size, min(2 * len(buffer), size + (1 << 20))))
    new[: len(buffer)] = buffer[:]
    return new


def _dirty_sectors(node: _Node) -> list[int]:
    if not node.mapped:
        return sorted(node.dirty)
    dirty = set(node.dirty)
    step = 128 * SECTOR_BYTES
    seen, medium = node.seen, node.medium
    for begin in range(0, node.size, step):
        end = min(begin + step, node.size)
        if seen[begin:end] == medium[begin:end]:
            continue
        for sector in range(begin // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
            a, b = sector * SECTOR_BYTES, min((sector + 1) * SECTOR_BYTES, node.size)
            if seen[a:b] != medium[a:b].ljust(b - a, b"\0"):
                dirty.add(sector)
    return sorted(dirty)


def _node_after_crash(node: _Node, rng: Rng | None, keep: Keep) -> _Node:
    if keep == "all":
        size = node.size
    elif keep == "none" or rng is None:
        size = node.medium_size
    else:
        size = rng.choice([node.medium_size, *node.sizes])
    seen, medium = _make(size), _make(size)
    _copy(seen, node.medium, min(size, node.medium_size))
    for sector in _dirty_sectors(node):
        if keep == "all" or (keep == "subset" and rng is not None and rng.random() < 0.5):
            begin = sector * SECTOR_BYTES
            end = min(begin + SECTOR_BYTES, size)
            if begin < end:
                part = bytes(node.seen[begin:end])
                seen[begin:end] = part.ljust(end - begin, b"\0")
    _copy(medium, seen, size)
    return _Node(
        seen=seen,
        size=size,
        medium=medium,
        medium_size=size,
        blocks={block for block in node.blocks if block * _BLOCK_BYTES < size},
        mtime_ms=node.mtime_ms,
        links=1,
    )
