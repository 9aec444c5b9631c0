"""One contract for the real disk and the simulated one: whatever passes here behaves the same on both."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry.errors import DiskFault, StoreLocked
from gantry.runtime.disk import Disk, is_not_found
from gantry.runtime.system_disk import SystemDisk
from gantry.testing import MemoryDisk


@pytest.fixture(params=["system", "memory"])
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    if request.param == "memory":
        yield MemoryDisk()
    else:
        real = SystemDisk()
        yield real
        real.close()


@pytest.fixture
def root(disk: Disk, tmp_path: Path) -> str:
    path = str(tmp_path / "root")
    disk.make_dirs(path)
    return path


def _raises(number: int) -> Any:
    return pytest.raises(DiskFault, match=f"errno {number}\\)")


def test_open_of_a_missing_file(disk: Disk, root: str) -> None:
    with _raises(errno.ENOENT) as caught:
        disk.open(f"{root}/a")
    assert is_not_found(caught.value)
    assert (caught.value.path, caught.value.op) == (f"{root}/a", "open")
    with _raises(errno.ENOENT):
        disk.open(f"{root}/no/a", create=True)
    with _raises(errno.ENOENT):
        disk.read_file(f"{root}/a")


def test_open_of_a_directory(disk: Disk, root: str) -> None:
    with pytest.raises(DiskFault):
        disk.open(root)
    with pytest.raises(DiskFault):
        disk.open(root, create=True)


def test_write_and_read_back(disk: Disk, root: str) -> None:
    file = disk.open(f"{root}/a", create=True)
    assert file.size == 0
    file.pwrite(b"hello", 0)
    file.pwrite(memoryview(b"xxWORLDxx")[2:7], 7)
    file.pwrite(bytearray(b"!"), 12)
    assert file.size == 13
    assert file.pread(100, 0) == b"hello\0\0WORLD!"
    assert file.pread(3, 7) == b"WOR"
    assert file.pread(10, 13) == b""
    assert file.pread(10, 99) == b""
    assert file.pread_nowait(5, 0) in (b"hello", None)
    assert file.pread_nowait(5, 11) in (b"D!", None)
    assert file.pread_nowait(5, 50) in (b"", None)
    file.sync()
    file.close()
    file.close()
    assert disk.size(f"{root}/a") == 13
    assert disk.read_file(f"{root}/a") == b"hello\0\0WORLD!"


def test_writing_nothing_changes_nothing(disk: Disk, root: str) -> None:
    file = disk.open(f"{root}/a", create=True)
    file.pwrite(b"", 0)
    file.pwrite(b"", 10)
    assert disk.size(f"{root}/a") == file.size == 0


def test_a_closed_file_refuses_everything(disk: Disk, root: str) -> None:
    file = disk.open(f"{root}/a", create=True)
    file.close()
    for act in (
        lambda: file.pwrite(b"a", 0),
        lambda: file.pread(1, 0),
        file.sync,
        lambda: file.truncate(0),
        lambda: file.allocate(0, 10),
        lambda: file.prefault(0, 1),
        file.map,
    ):
        with _raises(errno.EBADF):
            act()


def test_a_file_opened_for_reading_refuses_writes(disk: Disk, root: str) -> None:
    disk.open(f"{root}/a", create=True).close()
    file = disk.open(f"{root}/a", writable=False)
    with _raises(errno.EBADF):
        file.pwrite(b"a", 0)


def test_create_with_size(disk: Disk, root: str) -> None:
    file = disk.open(f"{root}/a", create=True, size=10_000)
    assert file.size == 10_000 == disk.size(f"{root}/a")
    assert file.pread(20_000, 0) == bytes(10_000)
    file.pwrite(b"x", 9_999)
    again = disk.open(f"{root}/a", create=True, size=12_000)
    assert again.pread(12_000, 9_999) == b"x" + bytes(2_000)
    longer = disk.open(f"{root}/a", create=True, size=100)
    assert longer.size == 12_000
    plain = disk.open(f"{root}/a")
    assert plain.size == 12_000


def test_sparse_file(disk: Disk, root: str) -> None:
    file = disk.open_sparse(f"{root}/a", 1 << 22)
    assert file.size == 1 << 22
    assert file.pread(10, (1 << 22) - 5) == bytes(5)
    assert disk.open_sparse(f"{root}/a", 100).size == 1 << 22


def test_truncate_and_grow_shows_zeros(disk: Disk, root: str) -> None:
    file = disk.open(f"{root}/a", create=True)
    file.pwrite(b"x" * 5000, 0)
    file.truncate(1000)
    assert file.size == 1000
    file.truncate(5000)
    assert file.pread(5000, 0) == b"x" * 1000 + bytes(4000)


def test_allocate_grows_and_keeps_bytes(disk: Disk, root: str) -> None:
    file = disk.open(f"{root}/a", create=True)
    file.pwrite(b"abc", 0)
    file.allocate(0, 100)
    assert file.size == 100
    assert file.pread(100, 0) == b"abc" + bytes(97)
    file.prefault(0, 1000)
    assert file.pread(100, 0) == b"abc" + bytes(97)


def test_mapping_and_file_show_the_same_bytes(disk: Disk, root: str) -> None:
    file = disk.open(f"{root}/a", create=True, size=5000)
    mapping = file.map()
    assert len(mapping.view) == 5000
    mapping.view[10:13] = b"abc"
    assert file.pread(3, 10) == b"abc"
    file.pwrite(b"Z", 11)
    assert bytes(mapping.view[10:13]) == b"aZc"
    held = mapping.view[10:13]
    mapping.sync()
    mapping.close()
    mapping.close()
    assert bytes(held) == b"aZc"
    with _raises(errno.EBADF):
        _ = mapping.view


def test_an_empty_file_cannot_be_mapped(disk: Disk, root: str) -> None:
    with _raises(errno.EINVAL):
        disk.open(f"{root}/a", create=True).map()


def test_directories(disk: Disk, root: str) -> None:
    disk.make_dirs(f"{root}/x/y/z")
    disk.make_dirs(f"{root}/x/y/z")
    disk.open(f"{root}/x/b", create=True).close()
    disk.open(f"{root}/x/a", create=True).close()
    assert disk.list_dir(f"{root}/x") == ["a", "b", "y"]
    assert disk.is_dir(f"{root}/x")
    assert not disk.is_dir(f"{root}/x/a")
    assert not disk.is_dir(f"{root}/none")
    assert disk.exists(f"{root}/x")
    assert disk.exists(f"{root}/x/a")
    assert not disk.exists(f"{root}/x/c")
    assert not disk.exists(f"{root}/x/a/b")
    with _raises(errno.ENOENT):
        disk.list_dir(f"{root}/none")
    with _raises(errno.ENOTDIR):
        disk.list_dir(f"{root}/x/a")
    with _raises(errno.ENOTEMPTY):
        disk.rmdir(f"{root}/x")
    with _raises(errno.EEXIST):
        disk.make_dirs(f"{root}/x/a")
    disk.rmdir(f"{root}/x/y/z")
    disk.sync_dir(f"{root}/x/y")
    assert disk.list_dir(f"{root}/x/y") == []
    with _raises(errno.ENOENT):
        disk.sync_dir(f"{root}/none")


def test_sync_all_takes_any_existing_path(disk: Disk, root: str) -> None:
    file = disk.open(f"{root}/a", create=True)
    file.pwrite(b"x", 0)
    file.close()
    disk.sync_all(root)
    disk.sync_all(f"{root}/a")
    with _raises(errno.ENOENT):
        disk.sync_all(f"{root}/none")


def test_rename_link_unlink(disk: Disk, root: str) -> None:
    one, two, three = f"{root}/1", f"{root}/2", f"{root}/3"
    disk.replace_file(one, b"one")
    disk.replace_file(two, b"two")
    disk.rename(one, two)
    assert disk.read_file(two) == b"two"[:0] + b"one"
    assert not disk.exists(one)
    disk.link(two, three)
    with _raises(errno.EEXIST):
        disk.link(two, three)
    disk.open(two).pwrite(b"O", 0)
    assert disk.read_file(three) == b"One"
    disk.unlink(two)
    assert disk.read_file(three) == b"One"
    with _raises(errno.ENOENT):
        disk.unlink(two)
    with _raises(errno.ENOENT):
        disk.rename(two, one)


def test_rename_of_a_directory(disk: Disk, root: str) -> None:
    disk.make_dirs(f"{root}/a/b")
    disk.replace_file(f"{root}/a/b/f", b"1")
    disk.rename(f"{root}/a", f"{root}/c")
    assert disk.read_file(f"{root}/c/b/f") == b"1"
    assert not disk.exists(f"{root}/a")
    disk.make_dirs(f"{root}/d/e")
    with _raises(errno.ENOTEMPTY):
        disk.rename(f"{root}/c", f"{root}/d")


def test_an_unlinked_file_stays_usable_while_it_is_open(disk: Disk, root: str) -> None:
    file = disk.open(f"{root}/a", create=True)
    disk.unlink(f"{root}/a")
    file.pwrite(b"x", 0)
    assert file.pread(1, 0) == b"x"
    assert not disk.exists(f"{root}/a")


def test_mtime(disk: Disk, root: str) -> None:
    disk.open(f"{root}/a", create=True).close()
    disk.set_mtime_ms(f"{root}/a", 1_600_000_000_123)
    assert disk.mtime_ms(f"{root}/a") == 1_600_000_000_123
    with _raises(errno.ENOENT):
        disk.mtime_ms(f"{root}/b")


def test_lock_is_exclusive_within_the_process(disk: Disk, root: str) -> None:
    lock = disk.lock(f"{root}/lock")
    with pytest.raises(StoreLocked):
        disk.lock(f"{root}/lock")
    # Reading the lock file must not give the lock up.
    disk.read_file(f"{root}/lock")
    with pytest.raises(StoreLocked):
        disk.lock(f"{root}/lock")
    lock.release()
    lock.release()
    disk.lock(f"{root}/lock").release()


def test_usage(disk: Disk, root: str) -> None:
    usage = disk.usage(root)
    assert usage.total > 0
    assert usage.free > 0
    assert 0 <= usage.ratio <= 1


def test_replace_file(disk: Disk, root: str) -> None:
    path = f"{root}/topics.json"
    disk.replace_file(path, b"1", checksum_path=f"{root}/sum")
    assert disk.list_dir(root) == ["sum", "topics.json"]
    disk.replace_file(path, b"22", checksum_path=f"{root}/sum")
    assert disk.list_dir(root) == ["sum", "topics.json", "topics.json.bak"]
    assert (disk.read_file(path), disk.read_file(path + ".bak")) == (b"22", b"1")
    disk.replace_file(path, b"333", keep_backup=False)
    assert (disk.read_file(path), disk.read_file(path + ".bak")) == (b"333", b"1")
    assert disk.read_file(f"{root}/sum").endswith(b" size=2\n")


async def test_run_returns_and_raises(disk: Disk) -> None:
    assert await disk.run(lambda a, b: a + b, 1, 2) == 3
    with pytest.raises(ZeroDivisionError):
        await disk.run(lambda: 1 // 0)


_ops = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 3000), st.binary(max_size=1500)),
        st.tuples(st.just("truncate"), st.integers(0, 4000), st.just(b"")),
        st.tuples(st.just("allocate"), st.integers(0, 4000), st.just(b"")),
        st.tuples(st.just("sync"), st.just(0), st.just(b"")),
        st.tuples(st.just("map"), st.integers(0, 4000), st.binary(min_size=1, max_size=700)),
    ),
    max_size=12,
)


@given(ops=_ops)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_leaves_the_same_bytes_on_both(ops: list[tuple[str, int, bytes]], tmp_path: Path) -> None:
    contents = []
    for disk in (SystemDisk(), MemoryDisk()):
        path = str(tmp_path / "f")
        disk.make_dirs(str(tmp_path))
        file = disk.open(path, create=True)
        file.truncate(0)
        for op, number, data in ops:
            if op == "write":
                file.pwrite(data, number)
            elif op == "truncate":
                file.truncate(number)
            elif op == "allocate":
                file.allocate(number, 500)
            elif op == "sync":
                file.sync()
            elif file.size:
                mapping = file.map()
                at = min(number, len(mapping.view))
                part = data[: len(mapping.view) - at]
                mapping.view[at : at + len(part)] = part
                mapping.close()
        contents.append((file.size, disk.read_file(path)))
        file.close()
        if isinstance(disk, SystemDisk):
            disk.close()
        else:
            # And a killed process loses nothing of it.
            disk.crash(keep="all")
            contents.append((file.size, disk.read_file(path)))
    assert contents[0] == contents[1] == contents[2]
