"""Whatever happens to the last synced record, it is never taken for the work of another broker and cut in silence."""

from __future__ import annotations

import pytest

from gantry.errors import StoreDamaged
from gantry.store.fsck import check_store
from gantry.store.inspect import read_synced_state
from gantry.testing import MemoryDisk
from tests.unit.store.store_world import ROOT, bodies, make_store, message, put, started, tree

LOG = f"{ROOT}/commitlog/{0:020d}"


async def stopped(count: int, body: bytes) -> MemoryDisk:
    disk = MemoryDisk()
    store = await started(disk)
    for _ in range(count):
        await put(store, message(body=body))
    await store.shutdown()
    return disk


def overwrite(disk: MemoryDisk, position: int, data: bytes) -> None:
    file = disk.open(LOG)
    file.pwrite(data, position)
    file.close()


async def test_damage_anywhere_in_the_last_synced_record_stops_the_start() -> None:
    disk = await stopped(5, b"body" * 10)
    state = read_synced_state(disk, f"{ROOT}/gantry/syncedOffset.json")
    assert state is not None
    whole = disk.read_file(LOG)
    begin, size = state.last_record_offset, state.last_record_size
    assert size > 130
    store_timestamp = range(begin + 56, begin + 64)
    """By it alone a damaged record is told from one of another broker at the same place."""
    for position in range(begin, begin + size):
        if position in store_timestamp:
            continue
        overwrite(disk, position, bytes([whole[position] ^ 0xFF]))
        before = tree(disk, f"{ROOT}/commitlog")
        with pytest.raises(StoreDamaged, match=r"everything below \d+ was synced; the store is not opened"):
            await make_store(disk).load()
        assert tree(disk, f"{ROOT}/commitlog") == before, "nothing is cut"
        overwrite(disk, position, whole[position : position + 1])
    for position, length in ((begin, size), (begin, 40), (begin + 28, 8), (begin - 60, size + 60), (0, begin + size)):
        overwrite(disk, position, bytes(length))
        with pytest.raises(StoreDamaged):
            await make_store(disk).load()
        overwrite(disk, position, whole[position : position + length])
    assert len(await bodies(await started(disk))) == 5, "repaired, it is as it was"


async def test_missing_newest_files_stop_the_start() -> None:
    disk = await stopped(8, bytes(5_000))
    newest = sorted(name for name in disk.list_dir(f"{ROOT}/commitlog"))
    state = read_synced_state(disk, f"{ROOT}/gantry/syncedOffset.json")
    assert state is not None
    for name in newest[1:]:
        disk.unlink(f"{ROOT}/commitlog/{name}")
    if len(newest) == 1 or state.synced_offset <= int(newest[1]):
        pytest.fail("the store has one file only: this proves nothing")
    with pytest.raises(StoreDamaged, match="the files of the commit log end at"):
        await make_store(disk).load()


async def test_good_records_of_another_broker_are_read_by_its_rule() -> None:
    """A longer log took the place of ours, our own files stayed: where our last record was, others lie."""
    ours = await stopped(4, b"ours")
    other = await stopped(9, b"of another broker " * 3)
    disk = MemoryDisk()
    for source, folders in ((ours, ("gantry",)), (other, ("commitlog", "consumequeue", "index"))):
        for folder in folders:
            for path, data in tree(source, f"{ROOT}/{folder}").items():
                disk.make_dirs(path[: path.rindex("/")])
                disk.replace_file(path, data, keep_backup=False)
    store = await started(disk)
    assert store.recovery_report is not None
    assert not store.recovery_report.own_state_matched
    assert len(await bodies(store)) == 9


@pytest.mark.parametrize("offset", [100, 1 << 30, (1 << 63) - 1])
async def test_a_queue_is_not_filled_up_to_an_offset_that_no_record_can_have(offset: int) -> None:
    """No checksum covers a record's queue offset, and a rebuilt queue fills holes: this one would be larger than the memory."""
    disk = await stopped(5, b"body")
    size = int.from_bytes(disk.read_file(LOG)[:4], "big")
    disk.unlink(f"{ROOT}/consumequeue/T/0/{0:020d}")
    overwrite(disk, 2 * size + 20, offset.to_bytes(8, "big"))
    said = rf"the record at physical offset {2 * size} has offset {offset} of queue 0 of topic T, which ends at 2: "
    with pytest.raises(StoreDamaged, match=said):
        await make_store(disk).load()
    assert len(await bodies(await started(disk, damage_policy="fence"))) == 4, "the others are there"


async def test_next_offsets_that_no_log_can_have_stop_the_start() -> None:
    disk = await stopped(5, b"body")
    path = f"{ROOT}/gantry/queueOffsets.json"
    disk.replace_file(path, b'{"queues":{"T":{"0":1000000000000}}}')
    with pytest.raises(StoreDamaged, match=rf"{path} has offset 1000000000000 of queue 0 of topic T, which ends at 5: "):
        await make_store(disk).load()


@pytest.mark.parametrize("count", [51, 1 << 20, (1 << 31) - 1])
async def test_an_index_file_that_says_it_has_more_entries_than_room_is_made_again(count: int) -> None:
    disk = MemoryDisk()
    store = await started(disk)
    for number in range(5):
        await put(store, message(KEYS=f"k{number}"))
    await store.shutdown()
    (path,) = [f"{ROOT}/index/{name}" for name in disk.list_dir(f"{ROOT}/index")]
    file = disk.open(path)
    file.pwrite(count.to_bytes(4, "big"), 36)
    file.close()
    store = await started(disk)
    assert len((await store.query_by_key("T", "k2", 10, 0, 1 << 60)).records) == 1
    await store.shutdown()
    assert check_store(disk, ROOT) == []
