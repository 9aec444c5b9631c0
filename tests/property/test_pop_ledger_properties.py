"""For all sequences of operations: the ledger of popped messages equals a simple model, live and as its files tell it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gantry.broker.pop.journal_format import decode_ops, decode_snapshot, encode_op, join_snapshot, snapshot_parts
from gantry.broker.pop.ledger import PopLedger
from gantry.broker.pop.ops import AckOp, ChangeOp, DropOp, MovedOp, OffsetsOp, Op, PopOp, QueueOp, TimeOp

QUEUES = 3
queues = st.integers(0, QUEUES - 1)


@dataclass
class Modelled:
    """One queue as anybody would write it down: a dictionary."""

    next: int = -1
    out: dict[int, tuple[int, int]] = field(default_factory=dict)
    """offset -> pop time, deadline"""
    moved: dict[int, int] = field(default_factory=dict)
    """offset -> log end"""

    @property
    def base(self) -> int:
        return min([self.next, *self.out, *self.moved])


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = PopLedger()
        self.model: dict[int, Modelled] = {}
        self.now = 1000
        self.log_end = 0
        self.handed: list[tuple[int, int, int]] = []

    def do(self, op: Op) -> None:
        record = encode_op(op)
        assert [each for each, _ in decode_ops(record)] == [op]
        self.ledger.apply(op)

    @initialize()
    def begin(self) -> None:
        for number in range(QUEUES):
            self.do(QueueOp(number, f"topic-{number}", "group", number))
            self.model[number] = Modelled()

    @rule(
        queue=queues,
        skipped=st.integers(0, 3),
        gaps=st.lists(st.integers(1, 3), max_size=32),
        back=st.integers(0, 5),
        set_back=st.booleans(),
        invisible=st.integers(0, 50),
    )
    def pop(self, queue: int, skipped: int, gaps: list[int], back: int, set_back: bool, invisible: int) -> None:
        model = self.model[queue]
        at = max(model.next, 0) + skipped
        if set_back:
            at = max(at - back - skipped, 0)
        offsets = []
        for gap in gaps:
            offsets.append(at)
            at += gap
        deadline = self.now + invisible
        self.do(PopOp(queue, at, self.now, deadline, tuple(offsets)))
        model.next = at
        for offset in offsets:
            model.moved.pop(offset, None)
            model.out[offset] = self.now, deadline
            self.handed.append((queue, offset, self.now))

    @precondition(lambda self: self.handed)
    @rule(which=st.data(), count=st.integers(1, 8))
    def ack(self, which: Any, count: int) -> None:
        queue, _, _ = which.draw(st.sampled_from(self.handed))
        model = self.model[queue]
        offsets = sorted(model.out)[:count]
        self.do(AckOp(queue, tuple(offsets)))
        for offset in offsets:
            del model.out[offset]

    @precondition(lambda self: self.handed)
    @rule(which=st.data())
    def ack_anything(self, which: Any) -> None:
        queue, offset, _ = which.draw(st.sampled_from(self.handed))
        self.do(AckOp(queue, (offset,)))
        self.model[queue].out.pop(offset, None)

    @precondition(lambda self: self.handed)
    @rule(which=st.data(), invisible=st.integers(0, 80))
    def change(self, which: Any, invisible: int) -> None:
        queue, offset, _ = which.draw(st.sampled_from(self.handed))
        deadline = self.now + invisible
        self.do(ChangeOp(queue, offset, self.now + 1, deadline))
        if offset in self.model[queue].out:
            self.model[queue].out[offset] = self.now + 1, deadline

    @rule(elapsed=st.integers(1, 40), count=st.integers(1, 40), fails=st.integers(0, 3))
    def time_passes(self, elapsed: int, count: int, fails: int) -> None:
        """What is due is moved, all of it and nothing else; some of it later, because the disk is full, say."""
        self.now += elapsed
        due = {
            (number, offset)
            for number, model in self.model.items()
            for offset, (_, deadline) in model.out.items()
            if deadline <= self.now
        }
        taken: set[tuple[int, int]] = set()
        while batch := self.ledger.take_due(self.now, count):
            for out in batch:
                key = out.queue.number, out.offset
                assert key in due, "revived before its deadline"
                assert key not in taken, "revived twice"
                taken.add(key)
                model = self.model[out.queue.number]
                assert (out.pop_time, out.deadline) == model.out[out.offset]
                if fails:
                    fails -= 1
                    self.ledger.put_off(out, self.now + 5)
                    model.out[out.offset] = out.pop_time, self.now + 5
                    continue
                self.log_end += 100
                self.do(MovedOp(out.queue.number, out.offset, self.log_end))
                del model.out[out.offset]
                model.moved[out.offset] = self.log_end
        assert taken == due

    @rule(part=st.integers(0, 100))
    def flush(self, part: int) -> None:
        safe = self.log_end * part // 100
        self.ledger.settle(safe)
        for model in self.model.values():
            model.moved = {offset: end for offset, end in model.moved.items() if end > safe}

    @rule(queue=queues)
    def drop(self, queue: int) -> None:
        self.do(DropOp(queue))
        self.do(QueueOp(queue, f"topic-{queue}", "group", queue))
        self.model[queue] = Modelled()
        self.handed = [each for each in self.handed if each[0] != queue]

    @rule(crc=st.integers(0, 2**32 - 1))
    def offsets_saved(self, crc: int) -> None:
        self.do(OffsetsOp(crc, 10))

    @rule()
    def snapshot(self) -> None:
        """The ledger goes on as its snapshot tells it."""
        self.ledger = decode_snapshot(join_snapshot(snapshot_parts(self.ledger)))

    @rule()
    def time_noted(self) -> None:
        self.do(TimeOp(self.now))
        assert self.ledger.time == self.now

    @rule(lost=st.integers(0, 100), down=st.integers(0, 30))
    def restart(self, lost: int, down: int) -> None:
        """Copies above the log's end are gone, and time has passed."""
        end = self.log_end * (100 - lost) // 100
        self.now += down
        ends = {queue.key: 10_000 for queue in self.ledger.all_queues()}
        self.ledger.after_restart(log_end=end, now=self.now, max_offset_of=ends)
        for model in self.model.values():
            for offset, moved_end in list(model.moved.items()):
                if moved_end > end:
                    model.out[offset] = -1, self.now
                del model.moved[offset]
        for number, model in self.model.items():
            queue = self.ledger.queues[number]
            assert queue is not None
            for offset, (_, deadline) in list(model.out.items()):
                found = self.ledger.out(queue, offset)
                assert found is not None, "lost by a restart"
                assert found.deadline == deadline
                model.out[offset] = found.pop_time, found.deadline
        self.log_end = max(end, 0)

    @invariant()
    def equals_the_model(self) -> None:
        if not self.model:
            return
        self.compare(self.ledger)

    def compare(self, ledger: PopLedger) -> None:
        for number, model in self.model.items():
            queue = ledger.queues[number]
            assert queue is not None
            assert queue.next == model.next
            assert queue.base == model.base
            assert set(queue.slots) == set(model.out) | set(model.moved)
            for offset, (pop_time, deadline) in model.out.items():
                out = ledger.out(queue, offset)
                assert out is not None
                assert (out.pop_time, out.deadline) == (pop_time, deadline)
            for offset in model.moved:
                assert ledger.out(queue, offset) is None
        assert ledger.out_count == sum(len(model.out) for model in self.model.values())
        deadlines = [deadline for model in self.model.values() for _, deadline in model.out.values()]
        if deadlines:
            assert ledger.next_deadline is not None
            assert ledger.next_deadline <= min(deadlines)

    def teardown(self) -> None:
        copy = decode_snapshot(join_snapshot(snapshot_parts(self.ledger)))
        if self.model:
            self.compare(copy)


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(0, 10_000), st.integers(0, 7))
def test_a_journal_that_ends_anywhere_tells_a_beginning(sizes: list[int], cut: int, bit: int) -> None:
    """Cut at any byte, or damaged in any bit: what is read are the first operations, whole and in order."""
    ops: list[Op] = [QueueOp(0, "topic", "group", 3)]
    at = 0
    for size in sizes:
        offsets = tuple(range(at, at + 3 * size, 3))
        at = offsets[-1] + 1
        ops += [PopOp(0, at, 5, 60_005, offsets), AckOp(0, offsets[::2]), MovedOp(0, offsets[-1], at)]
    journal = b"".join(map(encode_op, ops))
    cut %= len(journal)
    told = [op for op, _ in decode_ops(journal[:cut])]
    assert told == ops[: len(told)]
    assert len(b"".join(map(encode_op, told))) <= cut
    damaged = bytearray(journal)
    damaged[cut] ^= 1 << bit
    told = [op for op, _ in decode_ops(bytes(damaged))]
    assert told == ops[: len(told)]
    assert len(told) < len(ops)
