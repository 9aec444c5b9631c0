"""Any bytes in any file of a store: it opens or says why not, and nothing but a record of the right place is read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from functools import cache

from gantry.errors import StoreError
from gantry.runtime.disk import Disk
from gantry.store import PutStatus
from gantry.testing import MemoryDisk, VirtualClock
from tests.unit.store.store_world import ROOT, message, put, read_queue, started

SENDS = 12
FILES = {
    "mapped_file_size_commit_log": 4096,
    "mapped_file_size_consume_queue": 160,
    "max_hash_slot_num": 7,
    "max_index_num": 20,
}
SETTINGS = {**FILES, "prefault_window_bytes": 0, "hot_tail_bytes_max": 0, "flush_disk_type": "SYNC_FLUSH"}
CLEAN, KILLED = 0, 1


@cache
def sound_store(how: int) -> dict[str, bytes]:
    """The files of a small store that was stopped, or killed."""

    async def live() -> dict[str, bytes]:
        disk = MemoryDisk()
        store = await started(disk, **SETTINGS)
        for number in range(SENDS):
            await put(store, message("T", number % 2, b"%d" % number * 40, KEYS=f"k{number}", TAGS="t"))
        if how == KILLED:
            disk.crash(keep="all")
        else:
            await store.shutdown()
        return dict(files(disk, ROOT))

    return asyncio.run(live())


def files(disk: Disk, folder: str) -> Iterable[tuple[str, bytes]]:
    for name in sorted(disk.list_dir(folder)):
        path = f"{folder}/{name}"
        if disk.is_dir(path):
            yield from files(disk, path)
        else:
            yield path, disk.read_file(path)


def seeds() -> Iterable[bytes]:
    """Of each file: nothing of it is changed, its beginning is, and it is cut."""
    for how in (CLEAN, KILLED):
        for number, data in enumerate(sound_store(how).values()):
            for kept in (0, 2):
                yield bytes((how, number, kept, 0, 0)) + data[:512]
            yield bytes((how, number, 1, 0, 40))


def check(data: bytes) -> None:
    """Input: clean or killed, number of the file, even: overwrite / odd: replace, where (2 bytes), what."""
    logging.disable(logging.CRITICAL)
    head, content = data[:5].ljust(5, b"\0"), data[5:]
    sound = sound_store(head[0] % 2)
    path = list(sound)[head[1] % len(sound)]
    old, position = sound[path], int.from_bytes(head[3:], "big")
    position = min(position, len(old))
    new = old[:position] + content if head[2] % 2 else old[:position] + content + old[position + len(content) :]
    asyncio.run(open_and_use({**sound, path: new}))


async def open_and_use(sound: dict[str, bytes]) -> None:
    disk = MemoryDisk()
    for path, data in sound.items():
        disk.make_dirs(path.rpartition("/")[0])
        file = disk.open(path, create=True)
        file.pwrite(data, 0)
        file.close()
    try:
        store = await started(disk, VirtualClock(), **SETTINGS)
    except StoreError:
        return
    try:
        for queue_id in (0, 1):
            end = store.max_offset("T", queue_id)
            with contextlib.suppress(StoreError):
                for view in await read_queue(store, "T", queue_id):
                    assert view.queue_id == queue_id
                    assert view.queue_offset < end
            result = await store.put(message("T", queue_id, b"after"))
            if result.status is PutStatus.PUT_OK:
                assert result.record is not None
                assert result.record.queue_offset >= end
    finally:
        with contextlib.suppress(StoreError):
            await store.shutdown()
