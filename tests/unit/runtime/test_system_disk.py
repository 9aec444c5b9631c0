"""The real disk: what no simulation can show."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gantry.errors import DiskFault, DiskFull, StoreLocked
from gantry.runtime import system_file
from gantry.runtime.disk import DiskUsage
from gantry.runtime.system_disk import SystemDisk
from gantry.runtime.system_file import disk_error
from gantry.testing import MemoryDisk


@pytest.fixture
def disk() -> Iterator[SystemDisk]:
    disk = SystemDisk(threads_max=2, pending_max=2)
    yield disk
    disk.close()


def test_errors_are_told_apart() -> None:
    for number in (errno.ENOSPC, errno.EDQUOT):
        error = disk_error("/p", "pwrite", OSError(number, "x"))
        assert isinstance(error, DiskFull)
        assert (error.path, error.op, error.errno) == ("/p", "pwrite", number)
    assert isinstance(disk_error("/p", "sync", OSError(errno.EIO, "x")), DiskFault)


def test_created_with_size_means_blocks_are_there(disk: SystemDisk, tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    disk.open(path, create=True, size=1 << 20).close()
    assert os.stat(path).st_blocks * 512 >= 1 << 20
    sparse = str(tmp_path / "queue")
    disk.open_sparse(sparse, 1 << 20).close()
    assert os.stat(sparse).st_blocks * 512 < 1 << 20


def test_a_file_without_its_blocks_is_not_left_behind(
    disk: SystemDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = str(tmp_path / "log")
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskFull):
        disk.open(path, create=True, size=4096)
    assert not os.path.exists(path)
    disk.open(path, create=True).close()
    with pytest.raises(DiskFull):
        disk.open(path, create=True, size=4096)
    assert os.path.exists(path), "a file that was there stays"


def test_symbolic_links_are_not_followed(disk: SystemDisk, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    path = str(tmp_path / "link")
    for create in (False, True):
        with pytest.raises(DiskFault) as caught:
            disk.open(path, create=create)
        assert caught.value.errno == errno.ELOOP
    with pytest.raises(DiskFault):
        disk.read_file(path)
    with pytest.raises(DiskFault):
        disk.lock(path)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "none")
    with pytest.raises(DiskFault):
        disk.open(str(dangling), create=True, size=100)
    assert not (tmp_path / "none").exists()


def test_only_regular_files_are_opened(disk: SystemDisk, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DiskFault, match="not a regular file"):
        disk.open(str(tmp_path / "fifo"))


@pytest.mark.parametrize("what", ["file", "mapping"])
def test_a_failed_sync_poisons_the_file_for_good(
    disk: SystemDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    calls = 0

    def broken(*_: object) -> None:
        nonlocal calls
        calls += 1
        raise OSError(errno.EIO, "Input/output error")

    path = str(tmp_path / "a")
    file = disk.open(path, create=True, size=4096)
    file.pwrite(b"x", 0)
    if what == "file":
        monkeypatch.setattr(system_file, "_fdatasync", broken)
        sync = file.sync
    else:
        mapping = file.map()

        class BrokenMap:
            flush = broken

        monkeypatch.setattr(mapping, "_mmap", BrokenMap())
        sync = mapping.sync
    with pytest.raises(DiskFault, match="Input/output error"):
        sync()
    monkeypatch.undo()
    assert calls == 1
    assert file.poisoned
    for act in (file.sync, lambda: file.pwrite(b"1", 0), lambda: file.truncate(0), lambda: file.allocate(0, 1), file.map):
        with pytest.raises(DiskFault, match="earlier sync"):
            act()
    assert file.pread(1, 0) == b"x"
    file.close()
    again = disk.open(path)
    assert again.poisoned, "opening it again does not wash it clean"
    with pytest.raises(DiskFault, match="earlier sync"):
        again.sync()
    again.close()
    # Another file, even one that gets the same inode number, is not concerned.
    disk.unlink(path)
    fresh = disk.open(path, create=True)
    fresh.pwrite(b"1", 0)
    fresh.sync()


def test_syncs_beside_a_failing_one_fail_too(disk: SystemDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel tells a write-back error to one caller only; the others must not take that for success.
    file = disk.open(str(tmp_path / "a"), create=True)
    first_in, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def broken_once(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            first_in.set()
            go_on.wait(10)
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(system_file, "_fdatasync", broken_once)
    results: list[str] = []

    def sync() -> None:
        try:
            file.sync()
            results.append("ok")
        except DiskFault:
            results.append("fault")

    threads = [threading.Thread(target=sync) for _ in range(3)]
    threads[0].start()
    assert first_in.wait(10)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert results == ["fault"] * 3


def test_close_waits_for_nobody_and_takes_no_descriptor_away(
    disk: SystemDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = disk.open(str(tmp_path / "a"), create=True)
    inside, go_on = threading.Event(), threading.Event()
    valid: list[bool] = []

    def slow(fd: int) -> None:
        inside.set()
        go_on.wait(10)
        valid.append(os.fstat(fd).st_ino == os.stat(tmp_path / "a").st_ino)

    monkeypatch.setattr(system_file, "_fdatasync", slow)
    thread = threading.Thread(target=file.sync)
    thread.start()
    assert inside.wait(10)
    fd = file._fd
    file.close()
    go_on.set()
    thread.join(10)
    assert valid == [True]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_short_writes_are_completed(disk: SystemDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, bytes(data)[:3], offset))
    file = disk.open(str(tmp_path / "a"), create=True)
    file.pwrite(b"0123456789", 5)
    file.pwrite(memoryview(b"abcdefgh"), 15)
    assert file.pread(100, 0) == bytes(5) + b"0123456789abcdefgh"
    assert file.size == 23


def test_nowait_reads_of_a_system_that_cannot_tell(disk: SystemDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = disk.open(str(tmp_path / "a"), create=True)
    file.pwrite(b"1", 0)

    def unsupported(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr(system_file, "read_cached", unsupported)
    assert file.pread_nowait(1, 0) is None
    monkeypatch.undo()
    assert file.pread_nowait(1, 0) is None, "asked once, not again and again"
    other = disk.open(str(tmp_path / "a"))
    assert other.pread_nowait(1, 0) == b"1"


_HOLD = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)   # as FileChannel.tryLock(0, 1, false)
print("held", flush=True)
sys.stdin.read()
"""


def test_the_lock_of_another_process_is_respected(disk: SystemDisk, tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    Path(path).touch()
    child = subprocess.Popen([sys.executable, "-c", _HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(StoreLocked, match="held by another process"):
            disk.lock(path)
    finally:
        child.communicate()
    lock = disk.lock(path)
    refused = subprocess.run([sys.executable, "-c", _HOLD, path], input="", capture_output=True, text=True, check=False)
    assert "held" not in refused.stdout
    assert "Resource temporarily unavailable" in refused.stderr
    disk.read_file(path)
    refused = subprocess.run([sys.executable, "-c", _HOLD, path], input="", capture_output=True, text=True, check=False)
    assert "held" not in refused.stdout, "reading the lock file does not lose the lock"
    lock.release()
    taken = subprocess.run([sys.executable, "-c", _HOLD, path], input="", capture_output=True, text=True, check=False)
    assert taken.stdout == "held\n"


async def test_run_is_off_the_loop_and_bounded(disk: SystemDisk) -> None:
    release = threading.Event()
    running: list[int] = []

    def work(number: int) -> int:
        running.append(number)
        release.wait(10)
        assert threading.current_thread() is not threading.main_thread()
        return number

    tasks = [asyncio.ensure_future(disk.run(work, number)) for number in range(6)]
    await asyncio.sleep(0.05)
    assert sorted(running) == [0, 1]
    assert disk._pending_count == 2
    tasks[5].cancel()
    release.set()
    assert await asyncio.gather(*tasks[:5]) == [0, 1, 2, 3, 4]
    assert disk._pending_count == 0
    assert sorted(running) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("used", "free", "ratio"),
    [(0, 100, 0.0), (1, 999, 0.01), (10, 990, 0.01), (11, 989, 0.02), (75, 25, 0.75), (751, 249, 0.76), (5, 0, 1.0)],
)
def test_the_used_share_is_rounded_up_to_percents(used: int, free: int, ratio: float) -> None:
    assert DiskUsage(total=1000, used=used, free=free).ratio == ratio
    assert DiskUsage(total=0, used=0, free=0).ratio == 0.0


@pytest.mark.parametrize("synced", [False, True])
@pytest.mark.parametrize("make", ["real", "in memory"])
def test_what_was_never_written_is_passed_over(disk: SystemDisk, tmp_path: Path, make: str, synced: bool) -> None:
    """In a file with blocks, as the log's are: nothing that was written may be missed, in the page cache only or not."""
    size, places = 64 << 20, (5 << 20, (20 << 20) + 4097, (40 << 20) - 1)
    where: SystemDisk | MemoryDisk = disk if make == "real" else MemoryDisk()
    path = str(tmp_path / "log") if make == "real" else "/log"
    file = where.open(path, create=True, size=size)
    assert file.data_after(0) in ((size,) if make == "in memory" else range(size + 1))
    for place in places:
        file.pwrite(b"x", place)
    if synced:
        file.sync()
    found, at = [], file.data_after(0)
    while at < size:
        piece = file.pread(1 << 16, at)
        found += [at + position for position, byte in enumerate(piece) if byte]
        at = file.data_after(at + (1 << 16))
    assert found == list(places)
    assert file.data_after(size) == size
    file.close()


def test_a_file_system_that_does_not_tell_has_data_everywhere(
    disk: SystemDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = disk.open(str(tmp_path / "log"), create=True, size=1 << 20)
    monkeypatch.setattr(system_file, "_SEEK_DATA", None)
    assert file.data_after(77) == 77

    def refused(fd: int, offset: int, how: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(system_file, "_SEEK_DATA", 3)
    monkeypatch.setattr(os, "lseek", refused)
    assert file.data_after(77) == 77
