"""A million messages out at once: what they cost, and that each comes due exactly at its deadline."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

COUNT = 1_000_000
MEMORY_MAX = 200 << 20


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.timeout(300)
def test_a_million_messages_that_are_out(batch: int) -> None:
    """In a process of its own, so that its memory can be told. One message a pop is the dearest case."""
    script = textwrap.dedent(f"""
        import os
        from gantry.broker.pop.journal_format import decode_snapshot, join_snapshot, snapshot_parts
        from gantry.broker.pop.ledger import PopLedger
        from gantry.broker.pop.ops import AckOp, MovedOp, PopOp, QueueOp

        COUNT, BATCH, SPREAD = {COUNT}, {batch}, 1000

        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        before = resident()
        ledger = PopLedger()
        for number in range(8):
            ledger.apply(QueueOp(number, "topic", "group", number))
        base, nexts, out = 1_700_000_000_000, [0] * 8, 0
        expected = [0] * SPREAD
        for pop in range(COUNT // BATCH):
            number = pop % 8
            at = nexts[number]
            deadline = pop * 7919 % SPREAD
            ledger.apply(PopOp(number, at + BATCH, base, base + 60_000 + deadline, tuple(range(at, at + BATCH))))
            nexts[number] = at + BATCH
            expected[deadline] += BATCH
        used = resident() - before
        assert ledger.out_count == COUNT
        print(f"{{used >> 20}} MiB for {{COUNT}} messages, popped {{BATCH}} at a time", flush=True)
        assert used <= {MEMORY_MAX}, used

        assert ledger.take_due(base + 59_999, 1000) == []
        end = 0
        for ms in range(SPREAD):
            now, due = base + 60_000 + ms, 0
            while batch := ledger.take_due(now, 4096):
                due += len(batch)
                for one in batch:
                    assert one.deadline == now
                    end += 1
                    ledger.apply(MovedOp(one.queue.number, one.offset, end))
            assert due == expected[ms], (ms, due, expected[ms])
        assert ledger.out_count == 0 and ledger.moved_count == COUNT
        assert [queue.base for queue in ledger.all_queues()] == [0] * 8
        ledger.settle(end)
        assert [queue.base for queue in ledger.all_queues()] == nexts
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
