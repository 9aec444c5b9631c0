"""For all sequences of operations: the store equals a list per queue, through checkpoints, restarts, kills and rebuilds."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry.protocol.message import RecordView
from gantry.protocol.message.tags import tags_code
from gantry.store import MessageStore
from gantry.store.fsck import check_store
from gantry.testing import MemoryDisk, VirtualClock
from tests.unit.store.store_world import ROOT, bodies, message, put, read_queue, remove_tree, settled_get, started

SMALL_FILES: dict[str, Any] = {
    "mapped_file_size_commit_log": 4096,
    "mapped_file_size_consume_queue": 20 * 4,
    "max_hash_slot_num": 5,
    "max_index_num": 12,
    "prefault_window_bytes": 0,
    "hot_tail_bytes_max": 1000,
    "queue_tail_bytes_max": 200,
    "open_queue_files_max": 2,
}

sends = st.tuples(
    st.just("send"), st.sampled_from(["A", "B"]), st.integers(0, 2), st.binary(max_size=700), st.sampled_from(["", "x", "y"])
)
batches = st.tuples(st.just("batch"), st.integers(0, 2), st.lists(st.binary(max_size=300), min_size=1, max_size=6))
others = st.tuples(st.sampled_from(["checkpoint", "abort", "restart", "kill", "cut queues", "cut index", "delete A"]))
operations = st.lists(st.one_of(sends, sends, sends, batches, others), max_size=30)


@given(operations, st.sampled_from(["SYNC_FLUSH", "ASYNC_FLUSH"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_store_equals_a_list_per_queue(steps: list[tuple[Any, ...]], flush: str) -> None:
    asyncio.run(_compare(steps, flush))


async def _compare(steps: list[tuple[Any, ...]], flush: str) -> None:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    options = {**SMALL_FILES, "flush_disk_type": flush}
    store = await started(disk, clock, **options)
    model: dict[tuple[str, int], list[tuple[bytes, str]]] = {}
    for step in steps:
        clock.jump_wall_ms(700)
        match step:
            case ("send", topic, queue_id, body, tag):
                queue = model.setdefault((topic, queue_id), [])
                properties = {"KEYS": f"k{len(queue)}", **({"TAGS": tag} if tag else {})}
                assert await put(store, message(topic, queue_id, body, **properties)) == len(queue)
                queue.append((body, tag))
            case ("batch", queue_id, batch):
                queue = model.setdefault(("B", queue_id), [])
                result = await store.put_batch([message("B", queue_id, body) for body in batch])
                assert [record.queue_offset for record in result.records] == list(range(len(queue), len(queue) + len(batch)))
                queue += [(body, "") for body in batch]
            case ("checkpoint",):
                assert await store.checkpoint()
            case ("abort",):
                plan = store.new_plan()
                plan.add(message("A", 0, b"never"))
                store.write(plan)
                store.abort(plan)
            case ("delete A",):
                await store.delete_topics(["A"])
                model = {key: value for key, value in model.items() if key[0] != "A"}
            case ("kill",):
                disk.crash(keep="all")
                store = await started(disk, clock, **options)
            case _:
                await store.shutdown()
                if step[0] == "cut queues":
                    remove_tree(disk, f"{ROOT}/consumequeue")
                if step[0] == "cut index":
                    remove_tree(disk, f"{ROOT}/index")
                store = await started(disk, clock, **options)
    for (topic, queue_id), queue in model.items():
        assert await bodies(store, topic, queue_id) == [body for body, _ in queue]
        assert [view.queue_offset for view in await read_queue(store, topic, queue_id)] == list(range(len(queue)))
        assert await tagged_bodies(store, topic, queue_id) == [body for body, tag in queue if tag == "x"]
    await store.shutdown()
    assert check_store(disk, ROOT) == []


async def tagged_bodies(store: MessageStore, topic: str, queue_id: int) -> list[bytes]:
    """Bodies of the messages with tag x, as a consumer with that subscription gets them."""
    wanted = tags_code("x")
    found: list[bytes] = []
    offset = 0
    while offset < store.max_offset(topic, queue_id):
        result = await settled_get(store, topic, queue_id, offset, 3, filter=lambda code: code == wanted)
        found += [bytes(RecordView(view).body) for view in result.views]
        offset = result.next_begin_offset
    return found
