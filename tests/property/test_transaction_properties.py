"""For all sequences of halves, ends, rounds and kills: the broker does what a list of open halves does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry.broker.transaction.ledger import HalfLedger
from gantry.broker.transaction.offset_set import OffsetSet
from gantry.broker.transaction.op_message import decode_op_body, encode_op_bodies
from tests.unit.broker.transaction_rig import COMMIT, PARKED, ROLLBACK, ROUND_MS, Sent, TransactionRig, killed, questions

offsets = st.integers(0, 60)


@given(
    st.lists(
        st.one_of(offsets, st.tuples(st.just("forget below"), offsets), st.lists(offsets, max_size=12)),
        max_size=80,
    )
)
def test_offsets_in_ranges_are_a_set(steps: list[Any]) -> None:
    ranges, model = OffsetSet(), set[int]()
    for step in steps:
        if isinstance(step, tuple):
            ranges.forget_below(step[1])
            model = {offset for offset in model if offset >= step[1]}
        elif isinstance(step, list):
            ranges.add_all(sorted(step))
            model.update(step)
        else:
            assert ranges.add(step) == (step not in model)
            model.add(step)
        assert [offset in ranges for offset in range(64)] == [offset in model for offset in range(64)]
        assert ranges.range_count == sum(offset - 1 not in model for offset in model)
        for start in (0, 7, 59):
            missing = start
            while missing in model:
                missing += 1
            assert ranges.first_missing(start) == missing


@given(st.lists(st.integers(0, 2**62), max_size=300), st.integers(1, 200))
def test_op_bodies_list_every_offset_within_their_size(listed: list[int], size_max: int) -> None:
    bodies = encode_op_bodies(listed, size_max)
    assert [offset for body in bodies for offset in decode_op_body(body)] == listed
    assert all(len(body) <= size_max or body.count(b",") == 1 for body in bodies)


@given(st.binary(max_size=60))
def test_any_op_body_is_read(body: bytes) -> None:
    assert all(0 <= offset < 10**19 for offset in decode_op_body(body))


@given(
    st.lists(
        st.tuples(st.sampled_from(["end", "end all", "move", "op"]), st.lists(offsets, min_size=1, max_size=5)), max_size=60
    )
)
def test_positions_pass_what_is_over_and_nothing_else(steps: list[tuple[str, list[int]]]) -> None:
    ledger, over, ops, end = HalfLedger(), set[int](), list[list[int]](), 61
    for kind, listed in steps:
        match kind:
            case "end all":
                ledger.end_all(listed)
                over.update(listed)
            case "end":
                assert ledger.end(listed[0]) == (listed[0] not in over)
                over.add(listed[0])
            case "move":
                ledger.move(listed[0], end)
                over.add(listed[0])
                end += 1
            case _:
                ledger.take_op(len(ops), listed)
                ops.append(listed)
                over.update(listed)
        ledger.advance()
        first_open = next(offset for offset in range(end + 100) if offset not in over)
        assert ledger.position == first_open
        done = 0
        while done < len(ops) and max(ops[done]) < first_open:
            done += 1
        assert ledger.op_position == done
        assert all(ledger.is_over(offset) == (offset in over) for offset in range(end))
        assert all(ledger.is_open_in_place(offset) == (offset not in over) for offset in range(end))


# -- the whole service against a list


@dataclass
class ModelHalf:
    body: bytes
    born_ms: int
    immunity_ms: int | None
    places: list[Sent]
    times: int = 0


@dataclass
class Model:
    """Open halves in the order of their queue, and what became of the others."""

    check_max: int
    open: list[ModelHalf] = field(default_factory=list)
    committed: list[bytes] = field(default_factory=list)
    parked: list[bytes] = field(default_factory=list)

    def round(self, now_ms: int) -> list[tuple[bytes, int]]:
        """Body and number of each check that a round asks, in order."""
        asked = []
        for half in list(self.open):
            age_ms = now_ms - half.born_ms
            if half.immunity_ms is None and age_ms <= 6_000:
                break
            self.open.remove(half)
            if half.immunity_ms is not None and age_ms <= half.immunity_ms:
                self.open.append(half)
            elif half.times >= self.check_max:
                self.parked.append(half.body)
            else:
                half.times += 1
                self.open.append(half)
                asked.append((half.body, half.times))
        return asked


sends = st.tuples(st.just("half"), st.booleans(), st.sampled_from([None, None, 0, 45, 100]))
ends = st.tuples(st.sampled_from(["commit", "rollback"]), st.integers(0, 5), st.booleans())
others = st.sampled_from([("round",), ("round",), ("round",), ("kill",)])
steps_of_a_broker = st.lists(st.one_of(sends, ends, others), max_size=40)


@given(steps_of_a_broker, st.integers(0, 3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_broker_does_what_a_list_does(steps: list[tuple[Any, ...]], check_max: int) -> None:
    asyncio.run(_compare(steps, check_max))


async def _compare(steps: Iterable[tuple[Any, ...]], check_max: int) -> None:
    model, rigs = Model(check_max), list[TransactionRig]()
    rig = TransactionRig(transaction_check_max=check_max)
    rigs.append(rig)
    await rig.__aenter__()
    try:
        await rig.send("T")
        producer = await rig.producer()
        began_ms = rig.clock.now_ms()
        serial = 0
        for step in steps:
            match step:
                case ("half", late, immunity):
                    left_ms = began_ms + ROUND_MS - rig.clock.now_ms()
                    if late and left_ms > 3_000:
                        await rig.clock.run_ms(left_ms - 3_000)
                    body = b"%d" % serial
                    serial += 1
                    properties = {} if immunity is None else {"CHECK_IMMUNITY_TIME_IN_SECONDS": str(immunity)}
                    born_ms = rig.clock.now_ms()
                    place = await rig.half(body, properties=properties)
                    immunity_ms = None if immunity is None else immunity * 1000
                    model.open.append(ModelHalf(body, born_ms, immunity_ms, [place]))
                case ("commit" | "rollback" as kind, which, by_first) if model.open:
                    half = model.open.pop(which % len(model.open))
                    place = half.places[0 if by_first else -1]
                    outcome = COMMIT if kind == "commit" else ROLLBACK
                    assert (await rig.end(place, outcome, checked=True)).code == 0
                    if outcome == COMMIT:
                        model.committed.append(half.body)
                case ("round",):
                    producer.asked.clear()
                    await rig.clock.run_ms(began_ms + ROUND_MS - rig.clock.now_ms())
                    began_ms = rig.clock.now_ms()
                    expected = model.round(began_ms)
                    asked = questions(producer)
                    told = [(q.message.body, int(q.message.properties["TRANSACTION_CHECK_TIMES"])) for q in asked]
                    assert told == expected
                    for question in asked:
                        (half,) = [each for each in model.open if each.body == question.message.body]
                        half.places.append(question.place)
                    await producer.beat(producers=("producers",))
                case ("kill",):
                    rig = killed(rig, transaction_check_max=check_max)
                    rigs.append(rig)
                    await rig.__aenter__()
                    producer = await rig.producer()
                    began_ms = rig.clock.now_ms()
            assert await rig.bodies() == model.committed
        assert [message.body for message in await rig.messages(PARKED)] == model.parked
        assert rig.context.transactions.metrics.half_message_count == len(model.open)
    finally:
        for one in reversed(rigs):
            await one.__aexit__(None, None, None)
