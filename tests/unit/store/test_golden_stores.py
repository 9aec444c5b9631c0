"""Stores made by the official broker: they open, list the same, rebuild byte for byte, and go on."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from gantry.protocol.disk.index_layout import HEADER_SIZE
from gantry.protocol.message import RecordView, decode_properties
from gantry.store import MessageStore
from gantry.store.fsck import check_store
from gantry.store.log_scan import LogScan
from gantry.testing import MemoryDisk
from tests.unit.store.store_world import (
    GOLDEN_SIZES,
    ROOT,
    STORES,
    copy_into,
    expected,
    make_store,
    message,
    put,
    read_queue,
    remove_tree,
    tree,
)

CLEAN_AND_KILLED = ["clean", "killed"]
MADE_BY_5_5 = ["timer", "pop"]


def golden_disk(name: str) -> MemoryDisk:
    disk = MemoryDisk()
    copy_into(disk, STORES / name)
    return disk


def list_log(store: MessageStore) -> list[RecordView]:
    scan = LogScan(store._log, store.min_physical_offset, check_crc=True)
    return [RecordView(block.data, start) for block in scan for start in block.starts]


def as_expected(view: RecordView) -> dict[str, Any]:
    return {
        "topic": view.topic,
        "queueId": view.queue_id,
        "queueOffset": view.queue_offset,
        "physicalOffset": view.physical_offset,
        "size": view.size,
        "flag": view.flag,
        "sysFlag": view.sys_flag,
        "bornTimestamp": view.born_timestamp,
        "storeTimestamp": view.store_timestamp,
        "reconsumeTimes": view.reconsume_times,
        "preparedTransactionOffset": view.prepared_transaction_offset,
        "bodyCrc": view.body_crc,
        "storedBodySha256": hashlib.sha256(view.body).hexdigest(),
        "offsetMsgId": view.offset_msg_id,
        "propertiesRaw": view.properties.decode(),
        "properties": decode_properties(view.properties),
    }


@pytest.mark.parametrize("name", CLEAN_AND_KILLED)
async def test_every_record_is_listed_as_the_official_broker_wrote_it(name: str) -> None:
    store = make_store(golden_disk(name), **GOLDEN_SIZES)
    await store.load()
    wanted = expected(name)
    assert store.max_physical_offset == wanted["commitLogEnd"]
    records = list_log(store)
    assert len(records) == len(wanted["records"]) == 772
    for view, line in zip(records, wanted["records"], strict=True):
        found = as_expected(view)
        assert found == {key: line[key] for key in found}


@pytest.mark.parametrize("name", CLEAN_AND_KILLED)
async def test_every_queue_reads_back_in_order(name: str) -> None:
    store = make_store(golden_disk(name), **GOLDEN_SIZES)
    await store.load()
    by_queue: dict[tuple[str, int], list[int]] = {}
    for line in expected(name)["records"]:
        by_queue.setdefault((line["topic"], line["queueId"]), []).append(line["physicalOffset"])
    assert sum(len(store.queue_ids(topic)) for topic in store.topics()) == len(by_queue)
    for (topic, queue_id), physical in by_queue.items():
        assert [view.physical_offset for view in await read_queue(store, topic, queue_id)] == physical
        assert store.min_offset(topic, queue_id) == 0
    assert store.max_offset("GoldenNormal", 0) == store.max_offset("GoldenNormal", 1) == 360


@pytest.mark.parametrize("name", [*CLEAN_AND_KILLED, *MADE_BY_5_5])
async def test_queues_and_index_equal_what_the_log_implies(name: str) -> None:
    disk = golden_disk(name)
    tags = name in MADE_BY_5_5
    store = make_store(disk, **GOLDEN_SIZES, index_tags_enable=tags)
    await store.load()
    await store.shutdown()
    assert check_store(disk, ROOT, index_tags=tags) == []


async def test_opening_a_cleanly_stopped_store_changes_nothing_but_our_own_files() -> None:
    disk = golden_disk("clean")
    before = tree(disk, ROOT)
    store = make_store(disk, **GOLDEN_SIZES, index_tags_enable=False)
    await store.load()
    after = {path: data for path, data in tree(disk, ROOT).items() if "/gantry/" not in path}
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed <= {f"{ROOT}/checkpoint"}


@pytest.mark.parametrize("name", [*CLEAN_AND_KILLED, *MADE_BY_5_5])
async def test_deleted_queues_and_index_are_rebuilt_byte_for_byte(name: str) -> None:
    disk = golden_disk(name)
    # What the official broker's own dispatch had made of the log; the killed one's index may be ahead in memory only.
    queues = tree(disk, f"{ROOT}/consumequeue")
    indexes = list(tree(disk, f"{ROOT}/index").values())
    remove_tree(disk, f"{ROOT}/consumequeue")
    remove_tree(disk, f"{ROOT}/index")
    disk.unlink(f"{ROOT}/checkpoint")
    store = make_store(disk, **GOLDEN_SIZES, index_tags_enable=name in MADE_BY_5_5)
    await store.load()
    assert tree(disk, f"{ROOT}/consumequeue") == queues
    rebuilt = list(tree(disk, f"{ROOT}/index").values())
    assert rebuilt == indexes
    assert all(len(data) > HEADER_SIZE for data in rebuilt)


@pytest.mark.parametrize("cut", [1, 60, 90, 200])
async def test_a_log_cut_inside_its_last_record_recovers_the_prefix(cut: int) -> None:
    disk = golden_disk("killed")
    wanted = expected("killed")
    last = wanted["records"][-1]
    path = f"{ROOT}/commitlog/{2 << 20:020d}"
    file = disk.open(path)
    position = last["physicalOffset"] - (2 << 20) + last["size"] - cut
    file.pwrite(bytes(cut), position)
    file.close()
    store = make_store(disk, **GOLDEN_SIZES, index_tags_enable=False)
    await store.load()
    assert store.max_physical_offset == last["physicalOffset"]
    assert len(list_log(store)) == 771
    await store.start()
    await store.shutdown()
    assert check_store(disk, ROOT, index_tags=False) == []


async def test_a_store_of_the_official_broker_goes_on() -> None:
    disk = golden_disk("killed")
    store = make_store(disk, **GOLDEN_SIZES, index_tags_enable=False)
    await store.load()
    await store.start()
    end = store.max_offset("GoldenNormal", 0)
    assert await put(store, message("GoldenNormal", 0, UNIQ_KEY="NEW")) == end
    assert len((await store.query_by_key("GoldenNormal", "NEW", 10, 0, 1 << 60)).records) == 1
    await store.shutdown()
    assert not disk.exists(f"{ROOT}/abort")
    assert check_store(disk, ROOT, index_tags=False) == []


async def test_records_are_found_by_key_and_unique_id() -> None:
    store = make_store(golden_disk("clean"), **GOLDEN_SIZES)
    await store.load()
    lines = [line for line in expected("clean")["records"] if line["msgId"] and line["topic"] == "GoldenKeyed"]
    assert lines
    for line in lines:
        for key in [line["msgId"], *line["keys"].split()]:
            found = await store.query_by_key("GoldenKeyed", key, 64, 0, 1 << 60)
            assert line["physicalOffset"] in [RecordView(record).physical_offset for record in found.records]
