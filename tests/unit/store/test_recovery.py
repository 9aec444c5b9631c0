"""Starting on what a crash, damage, another broker or an operator left."""

from __future__ import annotations

import contextlib

import pytest

from gantry.errors import StoreDamaged, StoreLocked
from gantry.protocol.disk.checkpoint_layout import CHECKPOINT_SIZE, decode_checkpoint
from gantry.protocol.message import RecordView
from gantry.store import MessageStore
from gantry.store.fsck import check_store
from gantry.store.inspect import iterate_log, read_synced_state
from gantry.testing import MemoryDisk, PowerCut, SeededRng, VirtualClock
from tests.unit.store.store_world import (
    ROOT,
    bodies,
    make_store,
    message,
    put,
    read_queue,
    remove_tree,
    settled_get,
    started,
    tree,
)

LOG = f"{ROOT}/commitlog/{0:020d}"
SYNC = {"flush_disk_type": "SYNC_FLUSH"}


async def filled(disk: MemoryDisk, count: int = 30, **settings: object) -> MessageStore:
    store = await started(disk, **settings)
    for number in range(count):
        await put(store, message(queue_id=number % 3, body=b"body-%02d" % number, KEYS=f"k{number}", TAGS="t"))
    return store


async def all_bodies(store: MessageStore) -> list[bytes]:
    return sorted([body for queue_id in range(3) for body in await bodies(store, "T", queue_id)])


async def test_a_killed_process_loses_nothing() -> None:
    disk = MemoryDisk()
    await filled(disk)
    disk.crash(keep="all")
    store = await started(disk)
    assert await all_bodies(store) == [b"body-%02d" % number for number in range(30)]
    assert store.recovery_report is not None
    assert not store.recovery_report.clean_stop
    await store.shutdown()
    assert check_store(disk, ROOT) == []


async def test_acknowledged_message_survives_power_cut() -> None:
    disk = MemoryDisk()
    await filled(disk, **SYNC)
    disk.crash(keep="none")
    assert len(await all_bodies(await started(disk, **SYNC))) == 30


async def test_a_second_broker_on_the_directory_is_refused() -> None:
    disk = MemoryDisk()
    await filled(disk, 1)
    with pytest.raises(StoreLocked):
        await make_store(disk).load()


async def test_the_abort_file_says_who_runs_and_goes_with_a_clean_stop() -> None:
    disk = MemoryDisk()
    store = await started(disk)
    assert disk.read_file(f"{ROOT}/abort").decode().isdigit()
    await store.shutdown()
    assert not disk.exists(f"{ROOT}/abort")


async def test_the_checkpoint_lets_another_broker_recover() -> None:
    disk = MemoryDisk()
    store = await filled(disk)
    await store.checkpoint()
    data = disk.read_file(f"{ROOT}/checkpoint")
    assert len(data) == CHECKPOINT_SIZE
    checkpoint = decode_checkpoint(data)
    last = (await read_queue(store, "T", 2))[-1].store_timestamp
    assert checkpoint.physic_msg_timestamp == checkpoint.logics_msg_timestamp == checkpoint.index_msg_timestamp == last


@pytest.mark.parametrize("missing", ["consumequeue", "index", "both", "one queue", "newest queue file"])
async def test_missing_derived_files_are_made_again(missing: str) -> None:
    disk = MemoryDisk()
    store = await filled(disk, 90)
    await store.shutdown()
    before = {name: tree(disk, f"{ROOT}/{name}") for name in ("consumequeue", "index")}
    if missing in ("consumequeue", "both"):
        remove_tree(disk, f"{ROOT}/consumequeue")
    if missing in ("index", "both"):
        remove_tree(disk, f"{ROOT}/index")
    if missing == "one queue":
        remove_tree(disk, f"{ROOT}/consumequeue/T/1")
    if missing == "newest queue file":
        disk.unlink(f"{ROOT}/consumequeue/T/1/{400:020d}")
    store = await started(disk)
    assert len(await all_bodies(store)) == 90
    await store.shutdown()
    assert check_store(disk, ROOT) == []
    assert tree(disk, f"{ROOT}/consumequeue") == before["consumequeue"]
    assert list(tree(disk, f"{ROOT}/index").values()) == list(before["index"].values())


async def test_the_original_rule_is_used_without_our_own_files() -> None:
    disk = MemoryDisk()
    store = await filled(disk, 90)
    await store.checkpoint()
    disk.crash(keep="all")
    remove_tree(disk, f"{ROOT}/gantry")
    store = await started(disk)
    assert store.recovery_report is not None
    assert not store.recovery_report.own_state_matched
    assert len(await all_bodies(store)) == 90
    await store.shutdown()
    assert check_store(disk, ROOT) == []
    state = read_synced_state(disk, f"{ROOT}/gantry/syncedOffset.json")
    assert state is not None
    assert state.synced_offset == store.max_physical_offset


async def test_damage_below_the_synced_offset_stops_the_start_and_cuts_nothing() -> None:
    disk = MemoryDisk()
    store = await filled(disk, **SYNC)
    end = store.max_physical_offset
    disk.crash(keep="all")
    state = read_synced_state(disk, f"{ROOT}/gantry/syncedOffset.json")
    assert state is not None
    store = await started(disk, **SYNC)
    await store.shutdown()
    # Everything is below S now; the queues still have to be made again, so the walk meets the damage.
    remove_tree(disk, f"{ROOT}/consumequeue")
    disk.unlink(f"{ROOT}/gantry/syncedOffset.json.bak")
    _dispatch_nothing(disk)
    _damage(disk)
    before = tree(disk, f"{ROOT}/commitlog")
    with pytest.raises(StoreDamaged, match="damaged at physical offset"):
        await make_store(disk, **SYNC).load()
    assert tree(disk, f"{ROOT}/commitlog") == before
    assert store.max_physical_offset == end


def _damage(disk: MemoryDisk) -> int:
    """Flips a bit in the body of the sixth record; returns its place."""
    items = list(iterate_log(disk, LOG))
    place = items[5].physical_offset + 88
    disk.flip_bit(LOG, place)
    return place


def _dispatch_nothing(disk: MemoryDisk) -> None:
    """Puts D to 0, as a store has it that was killed before its first checkpoint."""
    path = f"{ROOT}/gantry/syncedOffset.json"
    text = disk.read_file(path).decode()
    before, _, rest = text.partition('"dispatchedOffset":')
    disk.replace_file(path, (before + '"dispatchedOffset":0' + rest[rest.index(",") :]).encode(), keep_backup=False)


async def test_a_damaged_range_can_be_fenced_and_everything_around_it_stays() -> None:
    disk = MemoryDisk()
    store = await filled(disk, **SYNC)
    await store.shutdown()
    remove_tree(disk, f"{ROOT}/consumequeue")
    _dispatch_nothing(disk)
    damaged = _damage(disk)
    store = await started(disk, **SYNC, damage_policy="fence")
    report = store.recovery_report
    assert report is not None
    ((start, stop),) = report.fenced
    assert start <= damaged < stop
    assert disk.size(report.side_file) == stop - start
    assert len(await all_bodies(store)) == 29
    assert [store.max_offset("T", queue_id) for queue_id in range(3)] == [10, 10, 10]
    assert await put(store, message()) == 10


async def test_valid_records_behind_a_torn_one_are_kept_in_a_side_file() -> None:
    """A power cut may lose a page in the middle of what was not synced: the log ends there, what follows is not thrown away."""
    disk = MemoryDisk()
    store = await filled(disk)
    views = [RecordView(view) for view in (await settled_get(store, "T", 0, 0)).views]
    end = store.max_physical_offset
    disk.crash(keep="all")
    hole = views[4].physical_offset
    file = disk.open(LOG)
    file.pwrite(bytes(views[4].size), hole)
    file.close()
    store = await started(disk)
    report = store.recovery_report
    assert report is not None
    assert store.max_physical_offset == report.end == hole
    assert disk.size(report.side_file) == end - hole
    # The dropped tail cannot come back: not after another crash, and not behind new records.
    disk.crash(keep="none")
    store = await started(disk)
    assert store.max_physical_offset == hole
    await put(store, message(body=b"x" * (views[4].size - 92 - 20)))
    disk.crash(keep="all")
    store = await started(disk)
    assert store.recovery_report is not None
    assert not store.recovery_report.cut_bytes


async def test_a_cut_tail_does_not_come_back_after_a_crash_right_behind_the_cut() -> None:
    disk = MemoryDisk()
    store = await filled(disk)
    first = (await read_queue(store, "T"))[0]
    disk.crash(keep="all")
    disk.flip_bit(LOG, first.size + 4)
    steps = disk.step_count
    await make_store(disk).load()
    total = disk.step_count - steps
    for step in range(1, total + 1):
        copy = MemoryDisk()
        _copy(disk, copy)
        _write(copy, LOG, tree(disk, f"{ROOT}/commitlog")[LOG])
        copy.cut_power_at(copy.step_count + step)
        with contextlib.suppress(PowerCut):
            await make_store(copy).load()
        copy.crash(SeededRng(step), "subset")
        store = make_store(copy)
        await store.load()
        assert store.max_physical_offset <= first.size


def _copy(source: MemoryDisk, target: MemoryDisk) -> None:
    for path, data in tree(source, ROOT).items():
        target.make_dirs(path[: path.rindex("/")])
        _write(target, path, data)


def _write(disk: MemoryDisk, path: str, data: bytes) -> None:
    file = disk.open(path, create=True)
    file.pwrite(data, 0)
    file.sync()
    file.close()
    while path.count("/") > 1:
        path = path[: path.rindex("/")]
        disk.sync_dir(path)


async def test_every_cut_of_the_last_record_recovers_the_ones_before() -> None:
    disk = MemoryDisk()
    store = await filled(disk, 4)
    last = (await read_queue(store, "T", 0))[-1]
    whole = disk.read_file(LOG)
    for cut in range(1, last.size + 1):
        copy = MemoryDisk()
        _copy(disk, copy)
        torn = whole[: last.physical_offset + last.size - cut]
        _write(copy, LOG, torn.ljust(len(whole), b"\0"))
        store = make_store(copy)
        await store.load()
        assert store.max_physical_offset == last.physical_offset, f"{cut} bytes cut off"
        assert len(await all_bodies(store)) == 3


async def test_every_bit_flip_in_the_last_body_ends_the_log_there() -> None:
    disk = MemoryDisk()
    store = await filled(disk, 4)
    last = (await read_queue(store, "T", 0))[-1]
    whole = bytearray(disk.read_file(LOG))
    for position in range(last.physical_offset + 88, last.physical_offset + 88 + last.body_length):
        for bit in range(8):
            whole[position] ^= 1 << bit
            copy = MemoryDisk()
            _copy(disk, copy)
            _write(copy, LOG, bytes(whole))
            whole[position] ^= 1 << bit
            store = make_store(copy)
            await store.load()
            assert store.max_physical_offset == last.physical_offset


async def test_a_log_file_of_the_wrong_length_is_named() -> None:
    disk = MemoryDisk()
    await (await filled(disk)).shutdown()
    with pytest.raises(StoreDamaged, match="has 16384 bytes, mappedFileSizeCommitLog says 4096"):
        await make_store(disk, mapped_file_size_commit_log=4096).load()


async def test_a_lost_log_is_not_taken_for_a_new_store() -> None:
    disk = MemoryDisk()
    await (await filled(disk)).shutdown()
    remove_tree(disk, f"{ROOT}/commitlog")
    with pytest.raises(StoreDamaged, match="commit log is gone"):
        await make_store(disk).load()


async def test_a_crash_before_dispatch_of_a_rolled_file_dispatches_it_all() -> None:
    """Recovery must not start at too late a file: queues had not caught up when the log rolled."""
    disk = MemoryDisk()
    clock = VirtualClock()
    store = await started(disk, clock, mapped_file_size_commit_log=4096)
    for number in range(30):
        await put(store, message(queue_id=number % 3, body=b"%02d" % number * 200))
    disk.crash(keep="all")
    store = await started(disk, clock, mapped_file_size_commit_log=4096)
    assert len(await all_bodies(store)) == 30


async def test_a_log_whose_beginning_is_gone_is_dispatched_from_where_it_begins() -> None:
    """The first file was lost before anything was synced: its name was not on the disk yet, that of the second one was."""
    disk = MemoryDisk()
    await filled(disk, 60, mapped_file_size_commit_log=4096)
    disk.crash(keep="all")
    disk.unlink(LOG.format(0))
    store = await started(disk, mapped_file_size_commit_log=4096)
    found = await all_bodies(store)
    assert 0 < len(found) < 60
    assert found == [b"body-%02d" % number for number in range(60 - len(found), 60)]
    for number in range(60, 63):
        await put(store, message(queue_id=number % 3, body=b"body-%02d" % number))
    assert await all_bodies(store) == [*found, b"body-60", b"body-61", b"body-62"]
    await store.shutdown()
    assert check_store(disk, ROOT) == []


async def test_a_failed_start_gives_the_lock_back() -> None:
    disk = MemoryDisk()
    await (await filled(disk)).shutdown()
    with pytest.raises(StoreDamaged):
        await make_store(disk, mapped_file_size_commit_log=4096).load()
    await make_store(disk).load()


async def test_the_synced_offset_never_goes_back_over_restarts_without_messages() -> None:
    disk = MemoryDisk()
    store = await filled(disk)
    end = store.max_physical_offset
    await store.shutdown()
    for _ in range(2):
        store = await started(disk)
        await store.checkpoint()
        state = read_synced_state(disk, f"{ROOT}/gantry/syncedOffset.json")
        assert state is not None
        assert state.synced_offset == state.dispatched_offset == end
        await store.shutdown()


async def test_several_directories_share_the_log() -> None:
    disk = MemoryDisk()
    paths = {"store_path_commit_log": "/a/log,/b/log", "mapped_file_size_commit_log": 4096}
    store = await started(disk, **paths)
    for number in range(20):
        await put(store, message(body=b"%02d" % number * 400))
    await store.shutdown()
    assert disk.list_dir("/a/log")[:2] == [f"{0:020d}", f"{8192:020d}"]
    assert disk.list_dir("/b/log")[0] == f"{4096:020d}"
    store = await started(disk, **paths)
    assert len(await bodies(store)) == 20
    await store.shutdown()
    assert check_store(disk, ROOT, commit_log_paths=["/a/log", "/b/log"]) == []
