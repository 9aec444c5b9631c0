"""Entries made in bulk are those that are made one by one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gantry._core import ACCEL
from gantry.model import StoreMessage, sys_flag
from gantry.model.topic_validator import SCHEDULE_TOPIC
from gantry.protocol.message.record import RecordView, encode_record
from gantry.store.bulk_dispatch import BulkDispatch
from gantry.store.config import DamagePolicy, StoreConfig, StorePaths
from gantry.store.delay_levels import DelayLevels
from gantry.store.open_file import OpenFileCache
from gantry.store.pending_keys import PendingKeys
from gantry.store.queue_table import QueueTable
from gantry.store.redispatch import Redispatch
from gantry.testing import MemoryDisk

BASE = 1 << 40
V4, V6 = ("10.0.0.1", 10911), ("::1", 10911)

pairs = st.tuples(
    st.sampled_from(["UNIQ_KEY", "KEYS", "TAGS", "DELAY", "WAIT", "x", "", "UNIQ_KEYS"]),
    st.sampled_from(["", "A", "a b  c", " ", "3", "ü", "0123456789ABCDEF", "x\0y"]),
)
messages = st.builds(
    lambda topic, queue_id, properties, end, kind, born, store: StoreMessage(
        topic=topic,
        queue_id=queue_id,
        body=b"body",
        properties="\x02".join(f"{name}\x01{value}" for name, value in properties).encode() + end,
        flag=0,
        sys_flag=kind,
        born_timestamp=1,
        born_host=born,
        store_host=store,
        reconsume_times=0,
        prepared_transaction_offset=0,
        wait_store_ok=True,
    ),
    st.sampled_from(["T", "Tü", "t" * 200, SCHEDULE_TOPIC, "Gone", "a/b", ".."]),
    st.sampled_from([0, 1, 5]),
    st.lists(pairs, max_size=4),
    st.sampled_from([b"", b"\x02", b"\x01", b"\xff"]),
    st.sampled_from([0, 0, 0, sys_flag.TRANSACTION_PREPARED, sys_flag.TRANSACTION_COMMIT, sys_flag.TRANSACTION_ROLLBACK]),
    st.sampled_from([V4, V4, V6]),
    st.sampled_from([V4, V4, V6]),
)


def empty_table() -> QueueTable:
    return QueueTable(StoreConfig(store_path_root_dir="/store"), StorePaths("/store"), OpenFileCache(MemoryDisk(), 10))


class OneByOne(Redispatch):
    """Only what it needs for a record."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Made:
    """What a walk over the records makes, in bulk or one by one."""

    def __init__(self, log: bytes, starts: list[int], *, bulk: bool, covered: int, skip_keys: int, with_tags: bool) -> None:
        queues = empty_table()
        pending = PendingKeys()
        deleted = {"Gone": BASE + len(log) // 2}
        touched: dict[Any, None] = {}
        report = SimpleNamespace(dispatched_count=0)
        one_by_one = OneByOne(
            _queues=queues,
            _deleted_topics=deleted,
            _delay_levels=DelayLevels("1s 5s 10s"),
            touched=touched,
            _index=SimpleNamespace(add=pending.add),
            _config=SimpleNamespace(index_tags_enable=with_tags, damage_policy=DamagePolicy.FENCE),
            _report=report,
        )
        many = BulkDispatch(queues, touched, deleted, pending, covered=covered, with_tags=with_tags)
        at, self.in_bulk = 0, 0
        while at < len(starts):
            if bulk:
                before = at
                at, count = many.run(log, BASE, starts, at)
                report.dispatched_count += count
                self.in_bulk += at - before
            if at < len(starts):
                one_by_one._dispatch_one(RecordView(log, starts[at]), BASE + starts[at], covered, skip_keys, True)
                at += 1
        batch = pending.batch()
        self.keys = [batch.key(number) for number in range(len(batch))]
        self.queues = {(queue.topic, queue.queue_id): bytes(queue.tail_units(queue.tail_base, 1000)) for queue in queues}
        self.ends = {(queue.topic, queue.queue_id): (queue.tail_base, queue.max_offset) for queue in queues}
        self.touched = {(queue.topic, queue.queue_id) for queue in touched}
        self.count = report.dispatched_count


def laid_out(sent: list[StoreMessage], holes: list[int]) -> tuple[bytes, list[int]]:
    log, starts, ends = b"", [], {}
    for message, hole in zip(sent, holes, strict=False):
        place = (message.topic, message.queue_id)
        offset = ends.get(place, 0) + hole
        ends[place] = offset + 1
        starts.append(len(log))
        log += encode_record(message, queue_offset=offset, physical_offset=BASE + len(log), store_timestamp=1000 + len(log))
    return log, starts


@settings(max_examples=150)
@given(
    sent=st.lists(messages, max_size=12),
    holes=st.lists(st.sampled_from([0, 0, 0, 1, 3]), min_size=12, max_size=12),
    covered_at=st.integers(-1, 12),
    skip_keys=st.integers(0, 2),
    with_tags=st.booleans(),
)
def test_bulk_makes_what_one_by_one_makes(
    sent: list[StoreMessage], holes: list[int], covered_at: int, skip_keys: int, with_tags: bool
) -> None:
    log, starts = laid_out(sent, holes)
    covered = BASE + starts[covered_at] if 0 <= covered_at < len(starts) else -1
    made = [Made(log, starts, bulk=bulk, covered=covered, skip_keys=skip_keys, with_tags=with_tags) for bulk in (False, True)]
    for name in ("queues", "ends", "keys", "touched", "count"):
        assert getattr(made[1], name) == getattr(made[0], name), name


@pytest.mark.skipif(ACCEL != "c", reason="the pure core makes them one by one")
def test_common_records_are_made_in_bulk() -> None:
    message = StoreMessage("T", 0, b"body", b"UNIQ_KEY\x01A\x02TAGS\x01t\x02", 0, 0, 1, V4, V4, 0, 0, True)
    log, starts = laid_out([message] * 5, [0] * 5)
    assert Made(log, starts, bulk=True, covered=-1, skip_keys=0, with_tags=True).in_bulk == 5


@pytest.mark.skipif(ACCEL != "c", reason="the pure core leaves all of them")
@given(data=st.binary(min_size=0, max_size=400), starts=st.lists(st.integers(-5, 500), max_size=4))
def test_bytes_that_are_no_records_are_left(data: bytes, starts: list[int]) -> None:
    at, _ = BulkDispatch(empty_table(), {}, {}, None, covered=-1, with_tags=True).run(data, 0, starts, 0)
    assert 0 <= at <= len(starts)
