"""One open file of the real disk. Compiled as it stands where the core is (`system_file.pxd`)."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from gantry._core import ACCEL
from gantry.errors import DiskError, DiskFault, DiskFull

if TYPE_CHECKING or ACCEL == "python":
    from ._cached_read_py import read_cached
else:
    from ._cached_read_c import read_cached

# Too many open files is a lack of room as well: nothing was written, and it passes when connections end.
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE))
_SEEK_DATA: int | None = getattr(os, "SEEK_DATA", None)
_PREFAULT_CHUNK_BYTES = 1 << 20
_ZEROS = bytes(1 << 20)
_fdatasync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


def disk_error(path: str, op: str, error: OSError) -> DiskError:
    """The door's word for an OSError: DiskFull when space, quota or descriptors ended, DiskFault otherwise."""
    kind = DiskFull if error.errno in _FULL else DiskFault
    return kind(path=path, op=op, errno=error.errno or 0, reason=error.strerror or str(error))


def _poisoned_error(path: str, op: str) -> DiskFault:
    return DiskFault(
        path=path, op=op, errno=errno.EIO, reason="an earlier sync of this file failed; it is not written any more"
    )


class Poison:
    """Files of which a sync failed, by (device, inode), so that opening one again does not wash it clean."""

    def __init__(self) -> None:
        self._keys: set[tuple[int, int]] = set()

    def add(self, fd: int) -> None:
        try:
            st = os.fstat(fd)
        except OSError:
            return
        self._keys.add((st.st_dev, st.st_ino))

    def holds(self, st: os.stat_result) -> bool:
        return bool(self._keys) and (st.st_dev, st.st_ino) in self._keys

    def forget_if_last_name(self, path: str) -> None:
        # The inode number may be given to a new file once the last name is gone.
        if self._keys:
            try:
                st = os.lstat(path)
            except OSError:
                return
            if st.st_nlink <= 1:
                self._keys.discard((st.st_dev, st.st_ino))


class SystemMapping:
    """A shared mapping of a whole file."""

    def __init__(self, file: SystemFile, mapped: mmap.mmap) -> None:
        self._file = file
        self._mmap: mmap.mmap | None = mapped
        self._view: memoryview | None = memoryview(mapped)

    @property
    def view(self) -> memoryview:
        if self._view is None:
            raise DiskFault(path=self._file.path, op="map", errno=errno.EBADF, reason="the mapping is closed")
        return self._view

    def sync(self) -> None:
        mapped = self._mmap
        if mapped is None:
            raise DiskFault(path=self._file.path, op="msync", errno=errno.EBADF, reason="the mapping is closed")
        self._file.sync_mapping(mapped)

    def close(self) -> None:
        view, mapped = self._view, self._mmap
        self._view = self._mmap = None
        if view is not None and mapped is not None:
            try:
                view.release()
                mapped.close()
            except BufferError:
                # Slices are still held; the memory goes when the last of them does.
                pass


class SystemFile:
    """One open file descriptor.

    Threads may be inside a call while close() comes: the descriptor is closed by whoever leaves last, since its number
    could otherwise be given to another file under a call in progress.
    """

    __slots__ = (
        "_closing", "_fd", "_guard", "_nowait", "_poison", "_size", "_sync_guard", "_users", "path", "poisoned"
    )  # fmt: skip

    def __init__(self, path: str, fd: int, size: int, poison: Poison, *, poisoned: bool) -> None:
        self.path = path
        self.poisoned = poisoned
        self._fd = fd
        self._size = size
        self._poison = poison
        self._guard = threading.Lock()
        self._sync_guard = threading.Lock()
        self._users = 0
        self._closing = False
        self._nowait = hasattr(os, "RWF_NOWAIT") and hasattr(os, "preadv")

    def __repr__(self) -> str:
        return f"<SystemFile {self.path} size={self._size}{' closed' if self._closing else ''}>"

    @property
    def size(self) -> int:
        return self._size

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        fd = self._enter("pwrite", changing=True)
        try:
            done = os.pwrite(fd, data, offset)
            if done != len(data) or isinstance(data, memoryview):
                with memoryview(data).cast("B") as view:
                    total = view.nbytes
                    while done < total:
                        # A short write is how a nearly full disk begins; the next call tells the reason.
                        done += os.pwrite(fd, view[done:], offset + done)
            if offset + done > self._size and done:
                self._grow(offset + done)
        except OSError as e:
            raise disk_error(self.path, "pwrite", e) from e
        finally:
            self._leave()

    def pread(self, length: int, offset: int) -> bytes:
        fd = self._enter("pread")
        try:
            data = os.pread(fd, length, offset)
            if len(data) == length or not data:
                return data
            parts = [data]
            done = len(data)
            while done < length:
                more = os.pread(fd, length - done, offset + done)
                if not more:
                    break
                parts.append(more)
                done += len(more)
            return b"".join(parts)
        except OSError as e:
            raise disk_error(self.path, "pread", e) from e
        finally:
            self._leave()

    def pread_nowait(self, length: int, offset: int) -> bytes | None:
        if not self._nowait:
            return None
        fd = self._enter("pread")
        try:
            length = min(length, max(self._size - offset, 0))
            if length == 0:
                return b""
            # A part of it means that the rest is not in the page cache: the length was cut to the file's above.
            return read_cached(fd, length, offset)
        except OSError as e:
            if e.errno in (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
                self._nowait = False
                return None
            raise disk_error(self.path, "pread", e) from e
        finally:
            self._leave()

    def data_after(self, offset: int) -> int:
        fd = self._enter("data_after")
        try:
            return os.lseek(fd, offset, _SEEK_DATA) if _SEEK_DATA is not None else offset
        except OSError as e:
            if e.errno == errno.ENXIO:
                return max(self._size, offset)
            if e.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP):
                return offset
            raise disk_error(self.path, "data_after", e) from e
        finally:
            self._leave()

    def sync(self) -> None:
        self._sync_by(_fdatasync)

    def sync_mapping(self, mapped: mmap.mmap) -> None:
        self._sync_by(lambda _fd: mapped.flush())

    def _sync_by(self, do: Callable[[int], object]) -> None:
        fd = self._enter("sync", changing=True)
        try:
            # One at a time: the kernel reports a write-back error once per open file, so of two syncs side by side one
            # would fail and the other return a success that is not true.
            with self._sync_guard:
                if self.poisoned:
                    raise _poisoned_error(self.path, "sync")
                try:
                    do(fd)
                except OSError as e:
                    self.poisoned = True
                    self._poison.add(fd)
                    raise disk_error(self.path, "sync", e) from e
        finally:
            self._leave()

    def allocate(self, offset: int, length: int) -> None:
        fd = self._enter("allocate", changing=True)
        try:
            if length > 0:
                allocate_blocks(fd, offset, length)
                self._grow(offset + length)
        except OSError as e:
            raise disk_error(self.path, "allocate", e) from e
        finally:
            self._leave()

    def prefault(self, offset: int, length: int) -> None:
        # Reading is enough: the pages are then in the cache, zeroed and uptodate, and a later write only copies.
        # Writing zeros would convert the blocks too, but could run over what the writer put there meanwhile.
        fd = self._enter("prefault")
        own = -1
        try:
            own = _without_read_ahead(fd)
            end = min(offset + length, self._size)
            scratch = bytearray(min(_PREFAULT_CHUNK_BYTES, max(end - offset, 0)))
            while offset < end:
                done = os.preadv(fd if own < 0 else own, [memoryview(scratch)[: end - offset]], offset)
                if done == 0:
                    break
                offset += done
        except OSError as e:
            raise disk_error(self.path, "prefault", e) from e
        finally:
            if own >= 0:
                os.close(own)
            self._leave()

    def map(self) -> SystemMapping:
        fd = self._enter("map", changing=True)
        try:
            if self._size == 0:
                raise DiskFault(path=self.path, op="map", errno=errno.EINVAL, reason="an empty file cannot be mapped")
            return SystemMapping(self, mmap.mmap(fd, self._size))
        except OSError as e:
            raise disk_error(self.path, "map", e) from e
        finally:
            self._leave()

    def truncate(self, size: int) -> None:
        fd = self._enter("truncate", changing=True)
        try:
            os.ftruncate(fd, size)
            self._size = size
        except OSError as e:
            raise disk_error(self.path, "truncate", e) from e
        finally:
            self._leave()

    def close(self) -> None:
        with self._guard:
            if self._closing:
                return
            self._closing = True
            if self._users:
                return
            fd, self._fd = self._fd, -1
        os.close(fd)

    def _grow(self, size: int) -> None:
        with self._guard:
            if size > self._size:
                self._size = size

    def _enter(self, op: str, *, changing: bool = False) -> int:
        if changing and self.poisoned:
            raise _poisoned_error(self.path, op)
        with self._guard:
            if not self._closing:
                self._users += 1
                return self._fd
        raise DiskFault(path=self.path, op=op, errno=errno.EBADF, reason="the file is closed")

    def _leave(self) -> None:
        with self._guard:
            self._users -= 1
            if self._users or not self._closing:
                return
            fd, self._fd = self._fd, -1
        os.close(fd)


def _without_read_ahead(fd: int) -> int:
    """A descriptor of its own for the same file, for which the kernel reads nothing ahead; -1 where there is none.

    Reading ahead takes pages in large pieces, which on a virtual machine are memory that was not touched before: 2.7 s of
    processor time per GiB instead of 0.4 to 0.7.
    """
    try:
        own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        os.posix_fadvise(own, 0, 0, os.POSIX_FADV_RANDOM)
    except (OSError, AttributeError):
        os.close(own)
        return -1
    return own


def allocate_blocks(fd: int, offset: int, length: int) -> None:
    if length <= 0:
        return
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, offset, length)
        return
    # pragma: no cover - macOS: zeros are written where the file has none yet
    begin = max(offset, os.fstat(fd).st_size)
    while begin < offset + length:
        begin += os.pwrite(fd, _ZEROS[: offset + length - begin], begin)
