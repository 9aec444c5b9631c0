"""What the simulated disk adds to the contract: crashes, faults, a bounded size."""

from __future__ import annotations

import asyncio
import errno

import pytest

from gantry.errors import DiskFault, DiskFull
from gantry.testing import MemoryDisk, PowerCut, SeededRng


def _disk() -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_dirs("/store")
    disk.sync_dir("/")
    return disk


def _synced(disk: MemoryDisk, path: str, data: bytes) -> None:
    file = disk.open(path, create=True)
    file.pwrite(data, 0)
    file.sync()
    file.close()
    disk.sync_dir("/store")


# -- what a power cut leaves ------------------------------------------------------------------------------------------


def test_synced_bytes_and_names_stay() -> None:
    disk = _disk()
    _synced(disk, "/store/a", b"safe")
    disk.crash()
    assert disk.read_file("/store/a") == b"safe"


def test_unsynced_bytes_go_with_the_power_but_not_with_the_process() -> None:
    disk = _disk()
    _synced(disk, "/store/a", b"x" * 2048)
    disk.open("/store/a").pwrite(b"y" * 4096, 0)
    assert disk.crashed_copy(keep="all").read_file("/store/a") == b"y" * 4096
    assert disk.crashed_copy(keep="none").read_file("/store/a") == b"x" * 2048
    assert disk.read_file("/store/a") == b"y" * 4096, "the disk itself goes on"


def test_any_subset_of_sectors_may_stay() -> None:
    disk = _disk()
    _synced(disk, "/store/a", b"o" * 2048)
    disk.open("/store/a").pwrite(b"n" * 2048, 0)
    seen = set()
    for seed in range(200):
        data = disk.crashed_copy(SeededRng(seed), "subset").read_file("/store/a")
        sectors = [data[at : at + 512] for at in range(0, 2048, 512)]
        assert all(sector in (b"o" * 512, b"n" * 512) for sector in sectors), "a sector is never torn"
        seen.add(tuple(sector[:1] for sector in sectors))
    assert len(seen) == 16


def test_the_same_seed_leaves_the_same() -> None:
    disk = _disk()
    disk.open("/store/a", create=True, size=100_000).pwrite(bytes(range(256)) * 390, 0)
    one = disk.crashed_copy(SeededRng(7), "subset")
    two = disk.crashed_copy(SeededRng(7), "subset")
    assert one.list_dir("/store") == two.list_dir("/store")
    for name in one.list_dir("/store"):
        assert one.read_file(f"/store/{name}") == two.read_file(f"/store/{name}")


def test_a_file_grown_but_not_synced_may_have_any_of_its_lengths() -> None:
    disk = _disk()
    _synced(disk, "/store/a", b"12345")
    file = disk.open("/store/a")
    file.pwrite(b"6" * 1000, 5)
    file.pwrite(b"7" * 1000, 1005)
    lengths = {disk.crashed_copy(SeededRng(seed), "subset").size("/store/a") for seed in range(100)}
    assert lengths == {5, 1005, 2005}


def test_a_truncation_not_synced_may_come_undone() -> None:
    disk = _disk()
    _synced(disk, "/store/a", b"x" * 1024)
    file = disk.open("/store/a")
    file.truncate(0)
    file.truncate(1024)
    assert file.pread(1024, 0) == bytes(1024)
    assert disk.crashed_copy().read_file("/store/a") == b"x" * 1024
    file.sync()
    assert disk.crashed_copy().read_file("/store/a") == bytes(1024)


def test_a_truncation_below_what_was_never_synced() -> None:
    disk = _disk()
    file = disk.open("/store/a", create=True)
    file.pwrite(b"x" * 5000, 0)
    file.truncate(0)
    file.sync()
    disk.sync_dir("/store")
    assert disk.crashed_copy().size("/store/a") == 0


def test_names_are_kept_only_by_a_sync_of_their_directory() -> None:
    disk = _disk()
    file = disk.open("/store/a", create=True)
    file.pwrite(b"1", 0)
    file.sync()
    assert disk.crashed_copy().list_dir("/store") == []
    disk.sync_dir("/store")
    assert disk.crashed_copy().read_file("/store/a") == b"1"
    disk.unlink("/store/a")
    assert disk.crashed_copy().read_file("/store/a") == b"1"
    disk.sync_dir("/store")
    assert disk.crashed_copy().list_dir("/store") == []


def test_a_rename_is_done_as_a_whole_or_not_at_all() -> None:
    disk = _disk()
    _synced(disk, "/store/old", b"old")
    _synced(disk, "/store/new", b"new")
    disk.rename("/store/new", "/store/old")
    outcomes = set()
    for seed in range(50):
        copy = disk.crashed_copy(SeededRng(seed), "subset")
        outcomes.add(tuple((name, copy.read_file(f"/store/{name}")) for name in copy.list_dir("/store")))
    assert outcomes == {(("new", b"new"), ("old", b"old")), (("old", b"new"),)}


def test_a_directory_not_synced_takes_its_files_with_it() -> None:
    disk = _disk()
    disk.make_dirs("/store/x/y")
    _synced(disk, "/store/x/y/f", b"1")
    disk.sync_dir("/store/x/y")
    assert disk.crashed_copy().list_dir("/store/x") == []
    disk.sync_dir("/store/x")
    assert disk.crashed_copy().read_file("/store/x/y/f") == b"1"


def test_two_names_of_one_file_stay_one_file() -> None:
    disk = _disk()
    _synced(disk, "/store/a", b"1")
    disk.link("/store/a", "/store/b")
    disk.sync_dir("/store")
    disk.crash()
    disk.open("/store/a").pwrite(b"2", 0)
    assert disk.read_file("/store/b") == b"2"


def test_writes_through_a_mapping_are_unsynced_until_it_is_synced() -> None:
    disk = _disk()
    file = disk.open("/store/q", create=True, size=3_000_000)
    file.sync()
    disk.sync_dir("/store")
    mapping = file.map()
    mapping.view[1_000_000:1_000_003] = b"abc"
    assert disk.crashed_copy().open("/store/q").pread(3, 1_000_000) == bytes(3)
    assert disk.crashed_copy(keep="all").open("/store/q").pread(3, 1_000_000) == b"abc"
    mapping.sync()
    assert disk.crashed_copy().open("/store/q").pread(3, 1_000_000) == b"abc"
    mapping.view[2_999_999] = 7
    mapping.close()
    assert disk.crashed_copy().open("/store/q").pread(1, 2_999_999) == b"\0"
    file.sync()
    assert disk.crashed_copy().open("/store/q").pread(1, 2_999_999) == b"\7"


def test_open_files_and_locks_do_not_outlive_a_crash() -> None:
    disk = _disk()
    lock = disk.lock("/store/lock")
    file = disk.open("/store/a", create=True)
    disk.crash()
    with pytest.raises(DiskFault):
        file.pwrite(b"1", 0)
    newer = disk.lock("/store/lock")
    lock.release()
    with pytest.raises(Exception, match="already held"):
        disk.lock("/store/lock")
    newer.release()


# -- stopping at every operation --------------------------------------------------------------------------------------


def test_the_power_can_be_cut_before_each_operation() -> None:
    def work(disk: MemoryDisk) -> None:
        disk.replace_file("/store/f", b"1")

    whole = _disk()
    whole.trace = []
    before = whole.step_count
    work(whole)
    steps = whole.step_count - before
    assert [op for op, _ in whole.trace] == ["create", "pwrite", "sync", "rename", "sync_dir"]
    for step in range(1, steps + 1):
        disk = _disk()
        disk.cut_power_at(disk.step_count + step)
        with pytest.raises(PowerCut):
            work(disk)
        assert disk.step_count == before + step - 1
        with pytest.raises(PowerCut):
            disk.exists("/store")
        disk.crash()
        work(disk)
        assert disk.read_file("/store/f") == b"1"


def test_a_torn_write_reaches_the_page_cache_in_part() -> None:
    disk = _disk()
    file = disk.open("/store/a", create=True)
    disk.cut_power_at(disk.step_count + 1, torn=True)
    with pytest.raises(PowerCut):
        file.pwrite(b"123456", 0)
    disk.crash(keep="all")
    assert disk.read_file("/store/a") == b"123"


# -- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "act"),
    [
        ("open", lambda d: d.open("/store/a")),
        ("create", lambda d: d.open("/store/new", create=True)),
        ("allocate", lambda d: d.open("/store/new", create=True, size=100)),
        ("pwrite", lambda d: d.open("/store/a").pwrite(b"1", 0)),
        ("pread", lambda d: d.open("/store/a").pread(1, 0)),
        ("sync", lambda d: d.open("/store/a").sync()),
        ("truncate", lambda d: d.open("/store/a").truncate(0)),
        ("map", lambda d: d.open("/store/a").map()),
        ("rename", lambda d: d.rename("/store/a", "/store/b")),
        ("link", lambda d: d.link("/store/a", "/store/b")),
        ("unlink", lambda d: d.unlink("/store/a")),
        ("rmdir", lambda d: d.rmdir("/store/dir")),
        ("make_dirs", lambda d: d.make_dirs("/store/more")),
        ("list_dir", lambda d: d.list_dir("/store")),
        ("stat", lambda d: d.size("/store/a")),
        ("utime", lambda d: d.set_mtime_ms("/store/a", 1)),
        ("usage", lambda d: d.usage("/store")),
        ("sync_dir", lambda d: d.sync_dir("/store")),
        ("lock", lambda d: d.lock("/store/lock")),
    ],
)  # fmt: skip
def test_every_operation_can_fail_and_then_works_again(op: str, act) -> None:  # type: ignore[no-untyped-def]
    disk = _disk()
    _synced(disk, "/store/a", b"1")
    disk.make_dirs("/store/dir")
    disk.fail(op, error=errno.EACCES)
    with pytest.raises(DiskFault, match="Permission denied") as caught:
        act(disk)
    assert caught.value.errno == errno.EACCES
    if op != "sync":
        act(disk)


def test_the_nth_call_fails_and_as_many_after_it_as_asked() -> None:
    disk = _disk()
    file = disk.open("/store/a", create=True)
    disk.fail("pwrite", error=errno.ENOSPC, nth=3, times=2, path_part="/a")
    other = disk.open("/store/b", create=True)
    outcomes = []
    for _ in range(6):
        other.pwrite(b"1", 0)
        try:
            file.pwrite(b"1", 0)
            outcomes.append("ok")
        except DiskFull:
            outcomes.append("full")
    assert outcomes == ["ok", "ok", "full", "full", "ok", "ok"]


def test_a_failing_write_may_have_written_a_part() -> None:
    disk = _disk()
    file = disk.open("/store/a", create=True)
    disk.fail("pwrite", error=errno.ENOSPC, partial=True)
    with pytest.raises(DiskFull):
        file.pwrite(b"1234", 0)
    assert disk.read_file("/store/a") == b"12"


def test_a_failed_sync_is_final() -> None:
    disk = _disk()
    _synced(disk, "/store/a", b"old")
    file = disk.open("/store/a")
    file.pwrite(b"new", 0)
    disk.fail("sync")
    with pytest.raises(DiskFault):
        file.sync()
    assert file.poisoned
    for act in (file.sync, lambda: file.pwrite(b"1", 0), lambda: disk.open("/store/a").sync(), lambda: file.truncate(0)):
        with pytest.raises(DiskFault):
            act()
    assert file.pread(3, 0) == b"new"
    disk.crash()
    assert disk.read_file("/store/a") == b"old"
    assert not disk.open("/store/a").poisoned, "after a restart the file is what the medium holds"


def test_a_full_disk() -> None:
    disk = MemoryDisk(capacity_bytes=10 * 4096)
    file = disk.open("/a", create=True, size=6 * 4096)
    file.pwrite(bytes(6 * 4096), 0)
    assert disk.usage("/").used == 6 * 4096
    with pytest.raises(DiskFull):
        disk.open("/b", create=True, size=5 * 4096)
    assert not disk.exists("/b"), "a file that got no blocks is not left behind"
    sparse = disk.open_sparse("/c", 100 * 4096)
    sparse.pwrite(b"1", 50 * 4096)
    sparse.pwrite(b"1" * 4096 * 3, 0)
    with pytest.raises(DiskFull):
        sparse.pwrite(b"1", 20 * 4096)
    sparse.pwrite(b"2", 50 * 4096 + 1)
    disk.unlink("/a")
    sparse.pwrite(b"1", 20 * 4096)
    assert disk.usage("/").ratio == 0.5


def test_damage() -> None:
    disk = _disk()
    _synced(disk, "/store/a", b"\0\0")
    disk.flip_bit("/store/a", 1, 3)
    disk.crash()
    assert disk.read_file("/store/a") == b"\0\x08"


async def test_run_can_be_held() -> None:
    disk = _disk()
    file = disk.open("/store/a", create=True)
    file.pwrite(b"1", 0)
    gate = asyncio.Event()
    disk.before_run = gate.wait
    task = asyncio.ensure_future(disk.run(file.sync))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    await task


def test_cold_reads() -> None:
    disk = _disk()
    _synced(disk, "/store/a", b"12")
    file = disk.open("/store/a")
    assert file.pread_nowait(2, 0) == b"12"
    disk.cold = True
    assert file.pread_nowait(2, 0) is None
    assert file.pread(2, 0) == b"12"


def test_sync_all_keeps_contents_and_names_of_everything() -> None:
    disk = MemoryDisk()
    disk.make_dirs("/a/b")
    for name in ("/a/x", "/a/b/y"):
        file = disk.open(name, create=True)
        file.pwrite(b"kept", 0)
        file.close()
    disk.sync_all("/a")
    late = disk.open("/a/late", create=True)
    late.pwrite(b"lost", 0)
    disk.crash(keep="none")
    assert disk.read_file("/a/x") == disk.read_file("/a/b/y") == b"kept"
    assert not disk.exists("/a/late")


def test_a_failed_sync_all_poisons_what_it_was_to_bring_to_the_disk() -> None:
    disk = MemoryDisk()
    clean = disk.open("/clean", create=True)
    clean.pwrite(b"x", 0)
    clean.sync()
    dirty = disk.open("/dirty", create=True)
    dirty.pwrite(b"x", 0)
    disk.fail("sync_all", error=5)
    with pytest.raises(DiskFault):
        disk.sync_all("/")
    assert (clean.poisoned, dirty.poisoned) == (False, True)
