"""The check that other tests rely on: each kind of damage is told, and a store in use is not called damaged."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gantry.protocol.disk.consume_queue_unit import UNIT_SIZE
from gantry.store.fsck import check_store
from gantry.testing import MemoryDisk
from tests.unit.store.store_world import ROOT, message, put, started

SMALL_FILES = {
    "mapped_file_size_commit_log": 4096,
    "mapped_file_size_consume_queue": UNIT_SIZE * 8,
    "max_hash_slot_num": 7,
    "max_index_num": 20,
    "prefault_window_bytes": 0,
}
QUEUE = f"{ROOT}/consumequeue/T/1"


async def sound_store() -> MemoryDisk:
    """60 messages in 3 queues, several files of each kind, stopped cleanly."""
    disk = MemoryDisk()
    store = await started(disk, **SMALL_FILES)
    for number in range(60):
        await put(store, message("T", number % 3, b"x" * 100, KEYS=f"k{number}", UNIQ_KEY=f"u{number}"))
    await store.shutdown()
    assert check_store(disk, ROOT) == []
    return disk


def files(disk: MemoryDisk, folder: str) -> list[str]:
    return [f"{folder}/{name}" for name in disk.list_dir(folder)]


def overwrite(disk: MemoryDisk, path: str, position: int, data: bytes) -> None:
    file = disk.open(path)
    file.pwrite(data, position)
    file.close()


def remove_file_of_the_log(disk: MemoryDisk) -> None:
    disk.unlink(files(disk, f"{ROOT}/commitlog")[1])


def remove_end_of_the_log(disk: MemoryDisk) -> None:
    for path in files(disk, f"{ROOT}/commitlog")[3:]:  # the last of them may have been made ahead of the writer
        disk.unlink(path)


def use_an_offset_twice(disk: MemoryDisk) -> None:
    """The second record of queue 1 says the offset of the first."""
    path = files(disk, f"{ROOT}/commitlog")[0]
    size = int.from_bytes(disk.read_file(path)[:4], "big")
    overwrite(disk, path, 4 * size + 20, bytes(8))


def remove_queue(disk: MemoryDisk) -> None:
    for path in files(disk, QUEUE):
        disk.unlink(path)
    disk.rmdir(QUEUE)


def remove_file_of_a_queue(disk: MemoryDisk) -> None:
    disk.unlink(files(disk, QUEUE)[1])


def remove_front_of_a_queue(disk: MemoryDisk) -> None:
    disk.unlink(files(disk, QUEUE)[0])


def empty_an_entry(disk: MemoryDisk) -> None:
    overwrite(disk, files(disk, QUEUE)[0], 3 * UNIT_SIZE, bytes(UNIT_SIZE))


def point_elsewhere(disk: MemoryDisk) -> None:
    overwrite(disk, files(disk, QUEUE)[0], 3 * UNIT_SIZE, bytes(8))


def change_a_tags_code(disk: MemoryDisk) -> None:
    overwrite(disk, files(disk, QUEUE)[0], 3 * UNIT_SIZE + 12, b"\0\0\0\0\0\0\0\7")


def remove_index(disk: MemoryDisk) -> None:
    for path in files(disk, f"{ROOT}/index"):
        disk.unlink(path)


def remove_front_of_the_index(disk: MemoryDisk) -> None:
    disk.unlink(files(disk, f"{ROOT}/index")[0])


def remove_middle_of_the_index(disk: MemoryDisk) -> None:
    disk.unlink(files(disk, f"{ROOT}/index")[1])


def remove_end_of_the_index(disk: MemoryDisk) -> None:
    disk.unlink(files(disk, f"{ROOT}/index")[-1])


def break_a_chain(disk: MemoryDisk) -> None:
    overwrite(disk, files(disk, f"{ROOT}/index")[0], 40, b"\0\0\0\1")


DAMAGES: list[tuple[Callable[[MemoryDisk], None], str]] = [
    (remove_file_of_the_log, "begins at 8192, the file before it ends at 4096"),
    (remove_end_of_the_log, "was synced"),
    (use_an_offset_twice, "T-1: offset 0 is used twice in the log"),
    (remove_queue, "T-1: the log has messages of this queue, its files are missing"),
    (remove_file_of_a_queue, "T-1: entries 8 to 15 are empty"),
    (remove_front_of_a_queue, "T-1: entry 0 is missing"),
    (empty_an_entry, "T-1: entries 3 to 3 are empty"),
    (point_elsewhere, "T-1: entry 3 is (0, "),
    (change_a_tags_code, "T-1: entry 3 is"),
    (remove_index, "index: 120 keys are missing, the first is of the record at 0"),
    (remove_front_of_the_index, "index: entry 0 is"),
    (remove_middle_of_the_index, "index: entry 19 is"),
    (remove_end_of_the_index, "keys are missing"),
    (break_a_chain, "slot 0 points to 1"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
async def test_damage_is_told(damage: Callable[[MemoryDisk], None], said: str) -> None:
    disk = await sound_store()
    damage(disk)
    faults = check_store(disk, ROOT)
    assert any(said in fault for fault in faults), faults


async def test_a_store_without_index_is_sound_when_none_is_made() -> None:
    disk = MemoryDisk()
    store = await started(disk, **SMALL_FILES, message_index_enable=False)
    await put(store, message("T", 0, b"x", KEYS="k"))
    await store.shutdown()
    assert check_store(disk, ROOT, index=False) == []
    assert check_store(disk, ROOT) == ["index: 1 keys are missing, the first is of the record at 0"]


class RetentionMeanwhile(MemoryDisk):
    """Removes the two oldest files of the log when the check has read the first of them."""

    armed = False

    def size(self, path: str) -> int:
        if self.armed and path.endswith(f"commitlog/{4096:020d}"):
            self.armed = False
            for path_ in files(self, f"{ROOT}/commitlog")[:2]:
                self.unlink(path_)
        return super().size(path)


async def test_retention_may_go_on_meanwhile() -> None:
    disk = await sound_store()
    busy = RetentionMeanwhile()
    for folder in ("commitlog", "consumequeue/T/0", "consumequeue/T/1", "consumequeue/T/2", "index", "gantry", "config"):
        folder = f"{ROOT}/{folder}"
        if disk.exists(folder):
            busy.make_dirs(folder)
            for path in files(disk, folder):
                if not disk.is_dir(path):
                    file = busy.open(path, create=True)
                    file.pwrite(disk.read_file(path), 0)
                    file.close()
    busy.armed = True
    assert check_store(busy, ROOT) == []
    assert not busy.armed
