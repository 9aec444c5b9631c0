"""What a MemoryDisk holds: names and contents, as processes see them and as the medium has them; and what a crash leaves."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from gantry.errors import DiskFault
from gantry.runtime.rng import Rng

Keep = Literal["none", "all", "subset"]
Buffer = bytearray | mmap.mmap

SECTOR_BYTES = 512
BLOCK_BYTES = 4096
ZEROS = bytes(1 << 18)
_LAZY_MIN_BYTES = 1 << 20


@dataclass(eq=False)
class Node:
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

    def set_size(self, size: int, now_ms: int) -> None:
        """As truncate: new bytes are zero."""
        old = self.size
        if size > old:
            # Zeros on both sides: nothing becomes dirty but the length.
            self.seen = _grown(self.seen, size, self)
        else:
            self.seen[size:old] = bytes(old - size)
            self.blocks = {block for block in self.blocks if block * BLOCK_BYTES < size}
            self.dirty.update(range(size // SECTOR_BYTES, -(-old // SECTOR_BYTES)))
        if size != old:
            self.sizes.append(size)
            self.size = size
            self.mtime_ms = now_ms

    def write(self, data: bytes | memoryview, offset: int, now_ms: int) -> None:
        """Seen at once, on the medium after sync()."""
        end = offset + len(data)
        if len(data):
            if end > self.size:
                self.set_size(end, now_ms)
            self.seen[offset:end] = bytes(data)
            self.dirty.update(range(offset // SECTOR_BYTES, (end - 1) // SECTOR_BYTES + 1))
            self.mtime_ms = now_ms

    def sync(self) -> None:
        """The medium has what is seen, from now on."""
        if len(self.medium) < self.size:
            self.medium = _grown(self.medium, self.size, None)
        for sector in self.dirty_sectors():
            begin = sector * SECTOR_BYTES
            end = min(begin + SECTOR_BYTES, len(self.medium))
            if begin < end:
                part = bytes(self.seen[begin : min(end, self.size)])
                self.medium[begin:end] = part.ljust(end - begin, b"\0")
        self.medium_size = self.size
        self.dirty.clear()
        self.sizes.clear()
        self.mapped = self.map_count > 0

    def dirty_sectors(self) -> list[int]:
        """Numbers of the sectors that are, or may be, other than on the medium; in order."""
        if not self.mapped:
            return sorted(self.dirty)
        dirty = set(self.dirty)
        step = 128 * SECTOR_BYTES
        seen, medium = self.seen, self.medium
        for begin in range(0, self.size, step):
            end = min(begin + step, self.size)
            if seen[begin:end] == medium[begin:end]:
                continue
            for sector in range(begin // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
                a, b = sector * SECTOR_BYTES, min((sector + 1) * SECTOR_BYTES, self.size)
                if seen[a:b] != medium[a:b].ljust(b - a, b"\0"):
                    dirty.add(sector)
        return sorted(dirty)

    def after_crash(self, rng: Rng | None, keep: Keep) -> Node:
        """Another node, as a crash would leave this one; for "subset" `rng` chooses length and sectors."""
        if keep == "all":
            size = self.size
        elif keep == "none" or rng is None:
            size = self.medium_size
        else:
            size = rng.choice([self.medium_size, *self.sizes])
        seen, medium = _make(size), _make(size)
        _copy(seen, self.medium, min(size, self.medium_size))
        for sector in self.dirty_sectors():
            if keep == "all" or (keep == "subset" and rng is not None and rng.random() < 0.5):
                begin = sector * SECTOR_BYTES
                end = min(begin + SECTOR_BYTES, size)
                if begin < end:
                    part = bytes(self.seen[begin:end])
                    seen[begin:end] = part.ljust(end - begin, b"\0")
        _copy(medium, seen, size)
        return Node(
            seen=seen,
            size=size,
            medium=medium,
            medium_size=size,
            blocks={block for block in self.blocks if block * BLOCK_BYTES < size},
            mtime_ms=self.mtime_ms,
            links=1,
        )


@dataclass(eq=False)
class Dir:
    """Names, as seen and on the medium."""

    seen: dict[str, Node | Dir] = field(default_factory=dict)
    medium: dict[str, Node | Dir] = field(default_factory=dict)


@dataclass(eq=False)
class DirChange:
    """One atomic change of names; None removes the name."""

    changes: list[tuple[Dir, str, Node | Dir | None]]

    def apply(self) -> None:
        """It reaches the medium."""
        for directory, name, item in self.changes:
            if item is None:
                directory.medium.pop(name, None)
            else:
                directory.medium[name] = item


def all_nodes(root: Dir) -> Iterator[Node]:
    """Every file that can be seen, once."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        for item in stack.pop().seen.values():
            if isinstance(item, Dir):
                stack.append(item)
            elif id(item) not in seen:
                seen.add(id(item))
                yield item


def tree_after_crash(root: Dir, journal: list[DirChange], rng: Rng | None, keep: Keep) -> Dir:
    """The tree as a crash would leave it, copied; `memory_disk.py` has the model."""
    if keep == "subset" and rng is None:
        raise ValueError("a subset needs an rng to choose it")
    names: dict[Dir, dict[str, Node | Dir]] = {}

    def listing(directory: Dir) -> dict[str, Node | Dir]:
        return names.setdefault(directory, dict(directory.medium))

    for change in journal:
        if keep == "all" or (keep == "subset" and rng is not None and rng.random() < 0.5):
            for directory, name, item in change.changes:
                if item is None:
                    listing(directory).pop(name, None)
                else:
                    listing(directory)[name] = item
    copies: dict[Node | Dir, Node | Dir] = {}

    def copy_dir(directory: Dir) -> Dir:
        made = copies.get(directory)
        if isinstance(made, Dir):
            return made
        new = Dir()
        copies[directory] = new
        for name in sorted(listing(directory)):
            item = listing(directory)[name]
            new.seen[name] = copy_dir(item) if isinstance(item, Dir) else copy_node(item)
        new.medium = dict(new.seen)
        return new

    def copy_node(node: Node) -> Node:
        made = copies.get(node)
        if isinstance(made, Node):
            made.links += 1
            return made
        new = node.after_crash(rng, keep)
        copies[node] = new
        return new

    return copy_dir(root)


def fault(path: str, op: str, number: int) -> DiskFault:
    return DiskFault(path=path, op=op, errno=number, reason=os.strerror(number))


def _make(size: int) -> Buffer:
    # Anonymous memory costs nothing until it is touched: a log file of its full length stays cheap.
    return bytearray(size) if size < _LAZY_MIN_BYTES else mmap.mmap(-1, size)


def _copy(target: Buffer, source: Buffer, size: int) -> None:
    """Into fresh memory; what is zero is not touched, so that a file full of holes stays cheap."""
    for begin in range(0, size, len(ZEROS)):
        part = source[begin : min(begin + len(ZEROS), size)]
        if part != ZEROS[: len(part)]:
            target[begin : begin + len(part)] = part


def _grown(buffer: Buffer, size: int, node: Node | None) -> Buffer:
    if len(buffer) >= size:
        return buffer
    if node is not None and node.map_count:
        raise fault("a mapped file", "truncate", errno.EOPNOTSUPP)
    new = _make(max(size, min(2 * len(buffer), size + (1 << 20))))
    new[: len(buffer)] = buffer[:]
    return new
