"""The disk door: files, one primitive at a time, so that a simulated disk can fail or stop at each of them.

Every primitive is synchronous. What can block for long (sync, creation of big files, cold reads, deletion) is handed to
`Disk.run`, which completes later: threads live only inside the real implementation (`system_disk`), the simulated one
(`gantry.testing`) needs none.

What holds when a call returns:
    pwrite, truncate, allocate      it is in the page cache: a killed process does not lose it, a power cut may.
    sync                            all bytes of this file written before the call are on the disk.
    open(create), rename, link, unlink, make_dirs
                                    visible at once; after a power cut only certain once sync_dir(parent) has returned.

Errors are mapped here: ENOSPC and EDQUOT become DiskFull, any other OSError DiskFault, both with path, op and errno.
A failed sync poisons the file: the kernel may have dropped the dirty pages and marked them clean, so a second sync of
the same pages could report a success that is not true. From then on every write and sync of that file raises DiskFault;
reads go on.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec

from gantry.errors import DiskFault

T = TypeVar("T")


class DiskUsage(msgspec.Struct, frozen=True):
    """Space of the file system a path lies on.

    Units: bytes. `free` is what an ordinary user may still write; blocks reserved for root are in neither number.
    """

    total: int
    used: int
    free: int

    @property
    def ratio(self) -> float:
        """Used share, rounded up to whole percents, as 0.00 .. 1.00; 0.0 when the file system tells no size.

        Source: UtilAll.getDiskPartitionSpaceUsedPercent (5.3).
        """
        entire = self.used + self.free
        if entire <= 0:
            return 0.0
        return -(-self.used * 100 // entire) / 100


class Mapping(Protocol):
    """A writable view of a whole file. Writing the view is as pwrite: in the page cache, not on the disk."""

    @property
    def view(self) -> memoryview:
        """The file's bytes; valid until close()."""

    def sync(self) -> None:
        """Everything written through the view before the call is on the disk. Blocking: use Disk.run.

        Raises: DiskFault, and the file is poisoned.
        """

    def close(self) -> None:
        """Give the view up. Slices of it that somebody still holds stay readable until they are dropped too."""


class DiskFile(Protocol):
    """One open file. Units: bytes; offsets from the start of the file.

    Calls may overlap, from several threads; close() waits for nobody: what is under way ends on the open file.
    """

    @property
    def path(self) -> str: ...

    @property
    def size(self) -> int:
        """Length of the file; what another handle of it changed meanwhile may not be counted."""

    @property
    def poisoned(self) -> bool:
        """True after a sync of this file failed."""

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        """Write all of `data`. Raises: DiskFull, DiskFault (then any part of the range may have been written)."""

    def pread(self, length: int, offset: int) -> bytes:
        """Read; shorter than `length` only at the end of the file. May block: for cold data use Disk.run."""

    def data_after(self, offset: int) -> int:
        """Where bytes that may be other than zero begin, at or after `offset`; the file's length when there are none.

        What was never written is passed over without reading it, where the file system tells. Raises: DiskFault.
        """

    def pread_nowait(self, length: int, offset: int) -> bytes | None:
        """As pread, from the page cache alone. None: it would block (or the system cannot tell)."""

    def sync(self) -> None:
        """All bytes written before the call are on the disk (fdatasync). Blocking: use Disk.run."""

    def allocate(self, offset: int, length: int) -> None:
        """Give the range its blocks, so that writing it cannot meet a full disk; the file grows when needed."""

    def prefault(self, offset: int, length: int) -> None:
        """Bring the range into the page cache, changing no byte. May block: use Disk.run."""

    def map(self) -> Mapping:
        """The whole file as a writable view. Allocate its blocks first: a full disk under a mapping is a SIGBUS."""

    def truncate(self, size: int) -> None: ...

    def close(self) -> None:
        """Idempotent. Does not sync."""


class DiskLock(Protocol):
    """A held lock; ends with release() or with the process."""

    path: str

    def release(self) -> None: ...


class Disk(Protocol):
    """Files and directories by path."""

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        """Do blocking work off the loop; returns or raises what `fn` does.

        Bounded: waits when too much is under way.
        """

    def open(self, path: str, *, create: bool = False, size: int | None = None, writable: bool = True) -> DiskFile:
        """Open a file; symbolic links as the last part of the path are refused.

        With `create` a missing file is made; with `size` too, a file shorter than that gets its blocks up to exactly
        that length (or DiskFull: a file this call made is then removed again). A longer file is left as it is.
        Raises: DiskFault (errno ENOENT when it is missing and not to be created), DiskFull.
        """

    def open_sparse(self, path: str, size: int) -> DiskFile:
        """Open or create with at least this length, without blocks: holes read as zeros; writing may meet DiskFull."""

    def exists(self, path: str) -> bool: ...

    def is_dir(self, path: str) -> bool: ...

    def list_dir(self, path: str) -> list[str]:
        """Names (not paths), sorted. Raises: DiskFault when it is no directory."""

    def make_dirs(self, path: str) -> None:
        """The directory and its parents; those that exist are fine."""

    def rename(self, old: str, new: str) -> None:
        """Atomic within a file system; an existing `new` is replaced."""

    def link(self, old: str, new: str) -> None:
        """A second name for the same file. Raises: DiskFault (EEXIST; EPERM or EOPNOTSUPP where links are unknown)."""

    def unlink(self, path: str) -> None: ...

    def rmdir(self, path: str) -> None: ...

    def sync_dir(self, path: str) -> None:
        """Names created, renamed and removed in this directory before the call survive a power cut. Blocking."""

    def sync_all(self, path: str) -> None:
        """Everything on the file system that holds `path`, contents and names, as it was before the call, is on the disk.

        For very many files at once; blocking. Raises: DiskFault: then any of them may be lost.
        """

    def size(self, path: str) -> int: ...

    def mtime_ms(self, path: str) -> int: ...

    def set_mtime_ms(self, path: str, mtime_ms: int) -> None: ...

    def usage(self, path: str) -> DiskUsage: ...

    def lock(self, path: str) -> DiskLock:
        """Take the exclusive lock on a file (created when missing), against other processes and this one.

        Raises: StoreLocked when somebody holds it; DiskFault.
        """

    def read_file(self, path: str) -> bytes: ...

    def replace_file(self, path: str, data: bytes, *, keep_backup: bool = True, checksum_path: str | None = None) -> None:
        """Put a metadata file in place of the old one; see `replace.replace_file` for the order of its steps."""


def is_not_found(error: DiskFault) -> bool:
    """The fault says that the path does not exist."""
    return error.errno == errno.ENOENT
