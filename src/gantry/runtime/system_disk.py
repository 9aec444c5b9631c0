"""The real disk: POSIX calls behind the Disk door, with the only threads of the package."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from gantry.errors import DiskError, DiskFault, StoreLocked

from .disk import DiskUsage
from .replace import replace_file
from .system_file import Poison, SystemFile, allocate_blocks, disk_error

try:
    import fcntl
except ImportError:  # pragma: no cover - a system without POSIX locks
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")

_O_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def _mapped(path: str, op: str) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise disk_error(path, op, e) from e


class SystemLock:
    """A lock on a file, against other processes (the official broker takes the same kind) and this one.

    Where the kernel has them, locks of the open file description are used: they conflict with the traditional ones of
    other processes, but are not lost when somebody in this process merely opens and closes the same file.
    """

    _held: dict[tuple[int, int], str] = {}
    _held_guard = threading.Lock()

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd: int | None = None
        with _mapped(path, "lock"):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | _O_FLAGS, 0o644)
        try:
            with _mapped(path, "lock"):
                st = os.fstat(fd)
            self._key = (st.st_dev, st.st_ino)
            with self._held_guard:
                if self._key in self._held:
                    raise StoreLocked(f"{path} is already held by this process; one store belongs to one broker")
                self._acquire(fd)
                self._held[self._key] = path
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def release(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with self._held_guard:
                self._held.pop(self._key, None)
            os.close(fd)

    def _acquire(self, fd: int) -> None:
        if fcntl is None:  # pragma: no cover
            return
        try:
            if hasattr(fcntl, "F_OFD_SETLK") and struct.calcsize("P") == 8:
                # struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid. The official lock is the first
                # byte (tryLock(0, 1, false)); the whole file conflicts with it and is easier to see in /proc/locks.
                request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                try:
                    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)
                    return
                except OSError as e:
                    if e.errno != errno.EINVAL:
                        raise
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            if e.errno in (errno.EACCES, errno.EAGAIN):
                raise StoreLocked(f"{self.path} is held by another process; a broker is already running on this store") from e
            raise disk_error(self.path, "lock", e) from e


class SystemDisk:
    """The machine's file systems.

    `run` uses at most `threads_max` threads, and lets at most `pending_max` calls wait for one; further callers wait
    before they are queued.
    """

    def __init__(self, *, threads_max: int = 4, pending_max: int = 1024) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads_max, thread_name_prefix="gantry-disk")
        self._pending_max = pending_max
        self._pending_count = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._poison = Poison()

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        while self._pending_count >= self._pending_max:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()
                raise
        self._pending_count += 1
        work = asyncio.get_running_loop().run_in_executor(self._pool, lambda: fn(*args))
        work.add_done_callback(self._finished)
        return await work

    def close(self) -> None:
        """End the threads once what they do is done."""
        self._pool.shutdown(wait=True)

    def open(self, path: str, *, create: bool = False, size: int | None = None, writable: bool = True) -> SystemFile:
        fd, st, created = self._open_fd(path, create=create, writable=writable)
        try:
            length = st.st_size
            if create and size is not None and length < size:
                with _mapped(path, "allocate"):
                    allocate_blocks(fd, length, size - length)
                length = size
        except DiskError:
            os.close(fd)
            if created:
                with _mapped(path, "unlink"):
                    os.unlink(path)
            raise
        return SystemFile(path, fd, length, self._poison, poisoned=self._poison.holds(st))

    def open_sparse(self, path: str, size: int) -> SystemFile:
        fd, st, _ = self._open_fd(path, create=True, writable=True)
        try:
            length = st.st_size
            if length < size:
                with _mapped(path, "truncate"):
                    os.ftruncate(fd, size)
                length = size
        except DiskError:
            os.close(fd)
            raise
        return SystemFile(path, fd, length, self._poison, poisoned=self._poison.holds(st))

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def is_dir(self, path: str) -> bool:
        return os.path.isdir(path)

    def list_dir(self, path: str) -> list[str]:
        with _mapped(path, "list_dir"):
            return sorted(os.listdir(path))

    def make_dirs(self, path: str) -> None:
        with _mapped(path, "make_dirs"):
            os.makedirs(path, exist_ok=True)

    def rename(self, old: str, new: str) -> None:
        with _mapped(old, "rename"):
            os.replace(old, new)

    def link(self, old: str, new: str) -> None:
        with _mapped(new, "link"):
            os.link(old, new, follow_symlinks=False)

    def unlink(self, path: str) -> None:
        self._poison.forget_if_last_name(path)
        with _mapped(path, "unlink"):
            os.unlink(path)

    def rmdir(self, path: str) -> None:
        with _mapped(path, "rmdir"):
            os.rmdir(path)

    def sync_dir(self, path: str) -> None:
        with _mapped(path, "open"):
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
        with _mapped(path, "sync_dir"):
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def sync_all(self, path: str) -> None:
        with _mapped(path, "open"):
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            _syncfs(fd, path)
        finally:
            os.close(fd)

    def size(self, path: str) -> int:
        with _mapped(path, "stat"):
            return os.lstat(path).st_size

    def mtime_ms(self, path: str) -> int:
        with _mapped(path, "stat"):
            return os.lstat(path).st_mtime_ns // 1_000_000

    def set_mtime_ms(self, path: str, mtime_ms: int) -> None:
        with _mapped(path, "utime"):
            os.utime(path, ns=(mtime_ms * 1_000_000, mtime_ms * 1_000_000), follow_symlinks=False)

    def usage(self, path: str) -> DiskUsage:
        with _mapped(path, "usage"):
            st = os.statvfs(path)
        return DiskUsage(
            total=st.f_blocks * st.f_frsize,
            used=(st.f_blocks - st.f_bfree) * st.f_frsize,
            free=st.f_bavail * st.f_frsize,
        )

    def lock(self, path: str) -> SystemLock:
        return SystemLock(path)

    def read_file(self, path: str) -> bytes:
        file = self.open(path, writable=False)
        try:
            return file.pread(file.size, 0)
        finally:
            file.close()

    def replace_file(self, path: str, data: bytes, *, keep_backup: bool = True, checksum_path: str | None = None) -> None:
        replace_file(self, path, data, keep_backup=keep_backup, checksum_path=checksum_path)

    def _open_fd(self, path: str, *, create: bool, writable: bool) -> tuple[int, os.stat_result, bool]:
        flags = (os.O_RDWR if writable else os.O_RDONLY) | _O_FLAGS
        created = False
        with _mapped(path, "open"):
            try:
                fd = os.open(path, flags)
            except FileNotFoundError:
                if not create:
                    raise
                fd = os.open(path, flags | os.O_CREAT, 0o644)
                created = True
            st = os.fstat(fd)
        if not stat.S_ISREG(st.st_mode):
            os.close(fd)
            raise DiskFault(path=path, op="open", errno=errno.EINVAL, reason="it is not a regular file")
        return fd, st, created

    def _finished(self, _work: object) -> None:
        self._pending_count -= 1
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                try:
                    waiter.set_result(None)
                except RuntimeError:  # its loop is closed
                    continue
                return


def _syncfs(fd: int, path: str) -> None:
    """syncfs(2), which tells errors since Linux 5.8; elsewhere sync(2), which waits but tells none."""
    import ctypes  # 4 ms that no start need wait for

    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError):
        os.sync()
        return
    if call(fd) != 0:
        number = ctypes.get_errno()
        raise disk_error(path, "sync_all", OSError(number, os.strerror(number)))
