"""The store's twins side by side: compiled and pure give the same bytes, offsets and answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gantry._core import ACCEL
from gantry.errors import MessageIllegal
from gantry.model import StoreMessage, sys_flag
from gantry.protocol.disk.index_layout import key_hash
from gantry.store import _append_plan_py, _hot_tail_py, _pending_keys_py, _queue_tail_py, _spans_py
from gantry.store.delay_levels import DelayLevels
from gantry.store.index_file import IndexFile
from gantry.testing import MemoryDisk

pytestmark = pytest.mark.skipif(ACCEL != "c", reason="the compiled core is not in use: there is nothing to compare")

if ACCEL == "c":
    from gantry.store import _append_c, _pending_keys_c  # type: ignore[attr-defined]

LEVELS = DelayLevels("1s 5s")
WORDS = st.sampled_from(["", "k", "a b", "Ж 😀", "x" * 300])
MESSAGES = st.builds(
    StoreMessage,
    topic=st.sampled_from(["T", "Tä", "SCHEDULE_TOPIC_XXXX", "t" * 200, "bad/name", ""]),
    queue_id=st.integers(0, 3),
    body=st.binary(max_size=700),
    properties=st.builds(
        lambda unique, keys, tags, level: (
            f"UNIQ_KEY\x01{unique}\x02KEYS\x01{keys}\x02TAGS\x01{tags}\x02DELAY\x01{level}".encode()
        ),
        WORDS,
        WORDS,
        WORDS,
        st.sampled_from(["1", "9", "x", ""]),
    )
    | st.binary(max_size=40)
    | st.integers(505, 515).map(lambda size: b"k\x01" + bytes(size) + b"\x02"),
    flag=st.integers(-(2**31), 2**31 - 1),
    sys_flag=st.sampled_from([0, 1, sys_flag.TRANSACTION_PREPARED, sys_flag.TRANSACTION_ROLLBACK, 0x30]),
    born_timestamp=st.integers(0, 2**62),
    born_host=st.sampled_from([("10.0.0.1", 1), ("2001:db8::1", 65535)]),
    store_host=st.sampled_from([("10.0.0.2", 10911), ("::1", 10911)]),
    reconsume_times=st.integers(0, 16),
    prepared_transaction_offset=st.integers(0, 2**62),
    wait_store_ok=st.booleans(),
)


class Index:
    def __init__(self, pending: Any) -> None:
        self.pending = pending
        self.add = pending.add


def planned(plans: Any, tail: Any, pending: Any, messages: list[StoreMessage] | Callable[[Any], None]) -> dict[str, Any]:
    queues: dict[tuple[str, int], Any] = {}

    def get_queue(topic: str, queue_id: int) -> Any:
        return queues.setdefault((topic, queue_id), tail())

    rules = plans.PlanRules(4096, get_queue, LEVELS)
    plan = plans.AppendPlan(rules, 8192 + 100, 1_700_000_000_000, 600, True)
    refused = []
    if callable(messages):
        messages(plan)
        messages = []
    for number, message in enumerate(messages):
        try:
            plan.add(message)
        except MessageIllegal as error:
            refused.append((number, error.remark, error.properties_too_long))
    plan.seal()
    seen: list[tuple[Any, ...]] = []
    index, touched = Index(pending()), []
    for queue in list(queues.values())[:2]:
        queue.watched = True
    plan.enter(touched, index)
    plan.expose(lambda *what: seen.append(what))
    keys = index.pending.batch()
    return {
        "refused": refused,
        "ranges": [tuple(item) for item in plan.ranges],
        "end": plan.end,
        "must wait": plan.must_wait,
        "last": plan.last_record if plan.count else None,
        "records": [
            (r.topic, r.queue_id, r.queue_offset, r.physical_offset, r.size, r.tags_code, r.properties, r.transaction_type,
             r.store_host, r.offset_msg_id)
            for r in plan.records
        ],
        "queues": {
            key: (q.max_offset, q.planned_offset, q.visible_offset, q.last_physical_end, q.dirty, q.tail_units(0, 99))
            for key, q in queues.items()
        },
        "touched": [key for queue in touched for key, other in queues.items() if other is queue],
        "keys": [keys.key(number) for number in range(len(keys))],
        "seen": seen,
    }  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(messages=st.lists(MESSAGES, max_size=12))
def test_plans_are_the_same(messages: list[StoreMessage]) -> None:
    pure = planned(_append_plan_py, _queue_tail_py.QueueTail, _pending_keys_py.PendingKeys, messages)
    compiled = planned(_append_c, _append_c.QueueTail, _pending_keys_c.PendingKeys, messages)
    assert compiled == pure


def test_a_plan_that_is_withdrawn_gives_its_offsets_back() -> None:
    for plans, tail in ((_append_plan_py, _queue_tail_py.QueueTail), (_append_c, _append_c.QueueTail)):
        queue = tail()
        plan = plans.AppendPlan(plans.PlanRules(4096, lambda topic, queue_id, q=queue: q, LEVELS), 0, 1, 600, True)
        plan.add(StoreMessage("T", 0, b"x"))
        assert queue.planned_offset == 1
        plan.withdraw()
        assert (queue.planned_offset, queue.max_offset, queue.memory_bytes) == (0, 0, 0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2**40), st.integers(1, 2**20), st.integers(-(2**31), 2**62)),
        st.tuples(st.just("append_fillers"), st.integers(0, 40)),
        st.tuples(st.just("drop_tail_below"), st.integers(0, 60)),
        st.tuples(st.just("tail_units"), st.integers(0, 60), st.integers(0, 60)),
        st.tuples(st.just("begin_tail_at"), st.integers(0, 9)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_queue_tails_are_the_same(steps: list[tuple[Any, ...]]) -> None:
    tails = (_queue_tail_py.QueueTail(), _append_c.QueueTail())
    for name, *values in steps:
        results = []
        for tail in tails:
            if name in ("drop_tail_below", "tail_units"):
                # Both are asked for what is in memory only.
                values[0] = min(max(values[0], tail.tail_base), tail.max_offset)
            results.append(getattr(tail, name)(*values))
        assert results[0] == results[1]
        shown = [
            (t.max_offset, t.planned_offset, t.visible_offset, t.last_physical_end, t.dirty, t.tail_base, t.memory_bytes,
             t.tail_units(t.tail_base, 1000))
            for t in tails
        ]  # fmt: skip
        assert shown[0] == shown[1]


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=80),
    reads=st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 400))),
)
def test_hot_tails_are_the_same(sizes: list[int], reads: list[tuple[int, int]]) -> None:
    tails = (_hot_tail_py.HotTail(2000), _append_c.HotTail(2000))
    start = 0
    rng = random.Random(len(sizes))
    for size in sizes:
        data = rng.randbytes(size)
        for tail in tails:
            tail.append(start, data)
        start += size + (7 if size % 5 == 0 else 0)
        assert tails[0].size == tails[1].size
    for at, size in reads:
        found = [tail.read(at, size) for tail in tails]
        assert found[0] == found[1]


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 300), st.integers(0, 60)), max_size=60))
def test_spans_are_the_same(steps: list[tuple[bool, int, int]]) -> None:
    spans = (_spans_py.Spans(4), _append_c.Spans(4))
    log = random.Random(1).randbytes(1000)
    for put, at, size in steps:
        for one in spans:
            if put:
                one.put(at, log[at : at + size])
        found = [one.read(at, size) for one in spans]
        assert found[0] == found[1]
        assert found[0] is None or bytes(found[0]) == log[at : at + size]


def test_a_view_of_the_hot_tail_outlives_its_chunk() -> None:
    tail = _append_c.HotTail(100)
    tail.append(0, b"a" * 80)
    view = tail.read(10, 20)
    for number in range(1, 50):
        tail.append(80 * number, b"b" * 80)
    assert tail.read(10, 20) is None
    assert bytes(view) == b"a" * 20


TAGS = st.sampled_from([None, b"A", b"B b"])
COMMON = st.lists(
    st.tuples(
        st.sampled_from(["T", "Tä", "t" * 200]),
        st.integers(0, 3),
        st.integers(0, 2**31 - 1),
        st.sampled_from([0, 1, 0x30]),
        st.integers(0, 16),
        st.integers(0, 2**62),
        st.binary(max_size=600),
        st.sampled_from([b"U1", b"x" * 40]),
        st.sampled_from([None, b"k", b"a  b"]),
        TAGS,
    ),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(messages=COMMON, wait=st.booleans(), split=st.integers(0, 12))
def test_common_messages_are_laid_out_alike(messages: list[Any], wait: bool, split: int) -> None:
    """By both twins, and as add() would have done it."""
    born, store, more = ("10.0.0.1", 1), ("10.0.0.2", 10911), b"R\x01r\x02"
    whole = [
        StoreMessage(topic, queue_id, body, own + more, flag, flags, time, born, store, reconsumed, 0, wait)
        for topic, queue_id, flag, flags, reconsumed, time, body, *found in messages
        for own in [common_properties(*found)]
    ]

    def lay_out(plan: Any) -> None:
        rows = [
            (plan.target(topic, queue_id), *numbers, body, common_properties(*found), more, *found)
            for topic, queue_id, *numbers, body, unique, words, tags in messages
            for found in [(unique, words, tags)]
            if len(body) <= plan.common_body_max
        ]
        places = plan.add_common(rows[:split], born, store, wait) + plan.add_common(rows[split:], born, store, wait)
        assert places == [(r.queue_offset, r.physical_offset, r.size) for r in plan.records]

    pure = planned(_append_plan_py, _queue_tail_py.QueueTail, _pending_keys_py.PendingKeys, lay_out)
    compiled = planned(_append_c, _append_c.QueueTail, _pending_keys_c.PendingKeys, lay_out)
    assert compiled == pure
    added = planned(_append_plan_py, _queue_tail_py.QueueTail, _pending_keys_py.PendingKeys, whole)
    assert {**added, "must wait": None} == {**pure, "must wait": None}


def common_properties(unique: bytes, words: bytes | None, tags: bytes | None) -> bytes:
    pairs = ((b"UNIQ_KEY", unique), (b"KEYS", words), (b"TAGS", tags))
    return b"".join(name + b"\x01" + value + b"\x02" for name, value in pairs if value is not None)


KEYS = st.lists(
    st.tuples(
        st.sampled_from(["T", "U", "Tä"]),
        st.lists(st.sampled_from([b"Aa", b"BB", b"", "Ж😀".encode(), b"\xff"]), max_size=3),
        st.integers(0, 1000),
        st.integers(100, 110),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(keys=KEYS, drop=st.integers(0, 20), count=st.integers(1, 5), begin=st.integers(98, 112), end=st.integers(98, 112))
def test_pending_keys_are_the_same(keys: list[Any], drop: int, count: int, begin: int, end: int) -> None:
    pure, compiled = _pending_keys_py.PendingKeys(), _pending_keys_c.PendingKeys()
    for topic, words, offset, at in keys:
        pure.add(topic, words, offset, at)
        compiled.add(topic, words, offset, at)
    at_once = [(topic, word, offset, at) for topic, words, offset, at in keys[:3] for word in words]
    pure.add_all(at_once)
    compiled.add_all(at_once)
    before = compiled.batch()
    for pending in (pure, compiled):
        pending.drop(min(drop, len(pending)))
    assert len(pure) == len(compiled)
    assert pure.last == compiled.last
    one, other = pure.batch(), compiled.batch()
    assert [one.key(n) for n in range(len(one))] == [other.key(n) for n in range(len(other))]
    assert len(before) == len(one) + min(drop, len(before))
    everything = pure.search("T", b"Aa", begin, end, 99) + pure.search("T", b"BB", begin, end, 99)
    # Aa and BB have the same hash: the compiled one, which keeps no text, finds both.
    assert set(compiled.search("T", b"Aa", begin, end, 99)) == set(everything)
    assert compiled.search("Tä", "Ж😀".encode(), begin, end, count) == pure.search("Tä", "Ж😀".encode(), begin, end, count)


def index_file(write: Callable[[IndexFile], None]) -> bytes:
    disk = MemoryDisk()
    disk.make_dirs("/index")
    file = IndexFile(disk, "/index/20240101000000000", 1000, 5000)
    file.create()
    write(file)
    return disk.read_file(file.path)


@pytest.mark.parametrize("parts", [[3000], [1, 400, 400, 2], [300, 4000, 4000]])
def test_an_index_file_written_in_bulk_is_the_same(parts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(7)
    batches = []
    for size in parts:
        pure, compiled = _pending_keys_py.PendingKeys(), _pending_keys_c.PendingKeys()
        for number in range(size):
            key, offset, at = (
                rng.choice(
                    (
                        b"k%d" % rng.randrange(900),
                        b"same",
                        b"7F000001000118B4AAC2%012X" % number,
                        "Ж😀".encode() * 4,
                        b"\xff" * 14,
                    )
                ),
                rng.randrange(1 << 40),
                1_000_000 + 700 * number,
            )
            pure.add("T", [key], offset, at)
            compiled.add("T", [key], offset, at)
        batches.append((pure.batch(), compiled.batch()))
    added: list[list[int]] = [[], [], []]

    def few(file: IndexFile) -> None:
        monkeypatch.setattr("gantry.store.index_file._BULK_COUNT_MIN", 1 << 30)
        added[0] = [file.write(pure) for pure, _ in batches]

    def many(file: IndexFile) -> None:
        monkeypatch.setattr("gantry.store.index_file._BULK_COUNT_MIN", 256)
        monkeypatch.setattr("gantry.store.index_file.lay_out_index", _pending_keys_c.lay_out_index)
        added[1] = [file.write(compiled) for _, compiled in batches]

    def many_pure(file: IndexFile) -> None:
        monkeypatch.setattr("gantry.store.index_file.lay_out_index", _pending_keys_py.lay_out_index)
        added[2] = [file.write(pure) for pure, _ in batches]

    assert index_file(few) == index_file(many) == index_file(many_pure)
    assert added[0] == added[1] == added[2]


def test_the_hash_of_a_key_is_the_same_for_all_text() -> None:
    for text in ("", "a", "Aa", "BB", "Ж", "😀" * 3, "￿", "polygenelubricants", "ÿ\u0080߿ࠀ"):
        pending = _pending_keys_c.PendingKeys()
        pending.add("T", [text.encode()], 1, 1)
        assert pending.batch().key(0)[0] == key_hash(f"T#{text}")
