"""A store on the simulated disk, and what its tests often need."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from gantry.errors import StoreError
from gantry.model import StoreMessage
from gantry.protocol.message import RecordView, encode_properties
from gantry.runtime.disk import Disk
from gantry.store import GetResult, MessageStore, PutStatus, StoreConfig
from gantry.testing import MemoryDisk, SeededRng, VirtualClock
from tests.golden import GOLDEN

ROOT = "/store"
HOST = ("127.0.0.1", 10911)
STORES = GOLDEN / "stores"
GOLDEN_SIZES: dict[str, Any] = {
    "mapped_file_size_commit_log": 1 << 20,
    "mapped_file_size_consume_queue": 6000,
    "max_hash_slot_num": 200,
    "max_index_num": 800,
}
SMALL: dict[str, Any] = {
    "mapped_file_size_commit_log": 16384,
    "mapped_file_size_consume_queue": 20 * 20,
    "max_hash_slot_num": 20,
    "max_index_num": 50,
    "prefault_window_bytes": 4096,
}


def make_store(disk: Disk, clock: VirtualClock | None = None, **settings: Any) -> MessageStore:
    values = {**SMALL, **settings}
    return MessageStore(
        StoreConfig(values.pop("root", ROOT), **values), disk=disk, clock=clock or VirtualClock(), rng=SeededRng(1)
    )


async def started(disk: Disk, clock: VirtualClock | None = None, **settings: Any) -> MessageStore:
    store = make_store(disk, clock, **settings)
    await store.load()
    await store.start()
    return store


def message(topic: str = "T", queue_id: int = 0, body: bytes = b"body", **properties: str) -> StoreMessage:
    return StoreMessage(
        topic,
        queue_id,
        body,
        encode_properties(properties),
        born_timestamp=1,
        born_host=("10.0.0.1", 5),
        store_host=HOST,
    )


async def put(store: MessageStore, item: StoreMessage) -> int:
    """Appends; returns the queue offset."""
    result = await store.put(item)
    assert result.status is PutStatus.PUT_OK, result
    assert result.record is not None
    return result.record.queue_offset


async def settled_get(store: MessageStore, topic: str, queue_id: int, offset: int, count: int = 32, **more: Any) -> GetResult:
    result = store.get(topic, queue_id, offset, count, **more)
    return await result if isinstance(result, Awaitable) else result


async def read_queue(store: MessageStore, topic: str, queue_id: int = 0) -> list[RecordView]:
    """Every record of a queue, following next_begin_offset as a consumer does."""
    views: list[RecordView] = []
    offset = store.min_offset(topic, queue_id)
    while offset < store.max_offset(topic, queue_id):
        result = await settled_get(store, topic, queue_id, offset)
        if not result.views and result.next_begin_offset == offset:
            raise StoreError(f"a get at {offset} of {topic}-{queue_id} leads nowhere: {result}")
        views += [RecordView(view) for view in result.views]
        offset = result.next_begin_offset
    return views


async def bodies(store: MessageStore, topic: str = "T", queue_id: int = 0) -> list[bytes]:
    return [bytes(view.body) for view in await read_queue(store, topic, queue_id)]


def copy_into(disk: MemoryDisk, source: Path, target: str = ROOT) -> None:
    """A directory tree of the real disk, in the simulated one and on its medium."""
    disk.make_dirs(target)
    for path in sorted(source.rglob("*")):
        name = f"{target}/{path.relative_to(source).as_posix()}"
        if path.is_dir():
            disk.make_dirs(name)
            continue
        file = disk.open(name, create=True)
        file.pwrite(path.read_bytes(), 0)
        file.sync()
        file.close()
        disk.sync_dir(name[: name.rindex("/")])


def tree(disk: Disk, root: str) -> dict[str, bytes]:
    """Every file below `root` with its bytes."""
    found: dict[str, bytes] = {}
    for name in disk.list_dir(root):
        path = f"{root}/{name}"
        if disk.is_dir(path):
            found.update(tree(disk, path))
        else:
            found[path] = disk.read_file(path)
    return found


def remove_tree(disk: Disk, root: str) -> None:
    for name in disk.list_dir(root):
        path = f"{root}/{name}"
        if disk.is_dir(path):
            remove_tree(disk, path)
        else:
            disk.unlink(path)
    disk.rmdir(root)


def expected(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((STORES / f"{name}.expected.json").read_text())
    return data
