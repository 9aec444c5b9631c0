"""The offline viewer: any file of a store, without a broker."""

from __future__ import annotations

from gantry.protocol.message.tags import tags_code
from gantry.store.inspect import (
    iterate_index,
    iterate_log,
    iterate_queue,
    iterate_timer_log,
    iterate_wheel,
    kind_of,
    read_checkpoint,
    read_index_header,
    read_synced_state,
)
from gantry.testing import MemoryDisk
from tests.unit.store.store_world import ROOT, expected, message, put, started
from tests.unit.store.test_timer_book import golden_disk, golden_entries

LOG = f"{ROOT}/commitlog/{0:020d}"


async def stored() -> MemoryDisk:
    disk = MemoryDisk()
    store = await started(disk, mapped_file_size_commit_log=4096)
    for number in range(8):
        await put(store, message(body=b"%d" % number * 700, KEYS=f"k{number}", TAGS="A"))
    await store.shutdown()
    return disk


async def test_log_queue_index_and_checkpoint_are_shown() -> None:
    disk = await stored()
    items = list(iterate_log(disk, LOG))
    assert [item.record.queue_offset for item in items if item.record] == [0, 1, 2, 3, 4]
    assert items[-1].blank
    second = list(iterate_log(disk, f"{ROOT}/commitlog/{4096:020d}"))
    assert second[0].physical_offset == 4096
    assert next(iterate_log(disk, LOG, start=items[2].physical_offset)).physical_offset == items[2].physical_offset
    units = list(iterate_queue(disk, f"{ROOT}/consumequeue/T/0/{0:020d}"))
    assert [(unit.queue_offset, unit.tags_code) for unit in units] == [(number, tags_code("A")) for number in range(8)]
    assert [unit.queue_offset for unit in iterate_queue(disk, f"{ROOT}/consumequeue/T/0/{0:020d}", start=6)] == [6, 7]
    (name,) = disk.list_dir(f"{ROOT}/index")
    entries = list(iterate_index(disk, f"{ROOT}/index/{name}"))
    assert len(entries) == 16 == read_index_header(disk, f"{ROOT}/index/{name}").index_count - 1
    assert {entry.physical_offset for entry in entries} == {unit.physical_offset for unit in units}
    assert read_checkpoint(disk, f"{ROOT}/checkpoint").physic_msg_timestamp > 0
    state = read_synced_state(disk, f"{ROOT}/gantry/syncedOffset.json")
    assert state is not None
    assert state.synced_offset == second[-1].physical_offset + second[-1].size


async def test_damage_is_shown_as_a_problem_and_ends_the_list() -> None:
    disk = await stored()
    items = list(iterate_log(disk, LOG))
    disk.flip_bit(LOG, items[1].physical_offset + 100)
    shown = list(iterate_log(disk, LOG))
    assert [bool(item.problem) for item in shown] == [False, True]
    assert "CRC" in shown[1].problem
    disk.flip_bit(LOG, items[0].physical_offset + 4)
    (first,) = iterate_log(disk, LOG)
    assert "magic" in first.problem


def test_the_kind_of_a_file_follows_from_its_place() -> None:
    assert kind_of(LOG) == "commitlog"
    assert kind_of(f"{ROOT}/consumequeue/T/0/{0:020d}") == "consumequeue"
    assert kind_of(f"{ROOT}/index/20240101000000000") == "index"
    assert kind_of(f"{ROOT}/checkpoint") == "checkpoint"
    assert kind_of(f"{ROOT}/gantry/syncedOffset.json") == "syncedOffset"
    assert kind_of("/etc/passwd") is None


def test_the_timers_files_are_shown() -> None:
    disk = golden_disk()
    items = [item for start in (0, 1040) for item in iterate_timer_log(disk, f"{ROOT}/timerlog/{start:020d}")]
    assert [(item.position, item.due_ms) for item in items] == [(line["pos"], line["dueTime"]) for line in golden_entries()]
    slots = [(index, *slot) for index, slot in iterate_wheel(disk, f"{ROOT}/timerwheel")]
    assert slots == [tuple(line.values()) for line in expected("timer")["timerwheel"]]
    assert kind_of(f"{ROOT}/timerlog/{0:020d}") == "timerlog"
    assert kind_of(f"{ROOT}/config/timercheck") == "timercheck"
    file = disk.open(f"{ROOT}/timerlog/{0:020d}")
    file.pwrite(b"\xff" * 52, 104)
    assert [bool(item.problem) for item in iterate_timer_log(disk, f"{ROOT}/timerlog/{0:020d}")] == [False, False, True]
