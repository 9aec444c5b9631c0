"""Transactions in the plan of a turn: halves and their ends that the engine lays out, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gantry.store import AppendPlan

    from .ledger import HalfLedger
    from .op_writer import OpWriter
    from .transaction_metrics import TransactionMetrics


class PlannedTransactions:
    """What a plan does for transactions, once it is real. The engine fills it in; nothing of it counts before.

    `halves` has how many halves are stored for a topic, `committed` how many are committed by (topic, seconds since they were
    born), `rolled_back` how many of a topic are. `ended` are the halves that both end, by their queue offsets, in the order
    their ends came. `op_offsets` are the op messages in the plan, by theirs.
    """

    __slots__ = ("committed", "ended", "halves", "op_offsets", "rolled_back")

    def __init__(self) -> None:
        self.halves: dict[str, int] = {}
        self.committed: dict[tuple[str, int], int] = {}
        self.rolled_back: dict[str, int] = {}
        self.ended: dict[int, None] = {}
        self.op_offsets: list[int] = []


class TurnOfTransactions:
    """Begins and ends the transactions of a turn of the loop all together: one plan, one write, one op message for many.

    The engine lays out the end of a half that is open where its sender knows it; lay_out_ops() follows before the plan is
    written, carried_out() once it is real. A plan that is given up leaves everything as it was. A half that a plan ends counts
    as open until then, so whoever decides about halves in another way ends the open plan first (`MessageStore.settle`).
    """

    def __init__(self, ledger: HalfLedger, ops: OpWriter, metrics: TransactionMetrics) -> None:
        self._ledger = ledger
        self._ops = ops
        self._metrics = metrics

    def lay_out_ops(self, planned: PlannedTransactions, plan: AppendPlan) -> None:
        """A rollback is nowhere else than in the op queue, so it is written with the plan; commits wait for a full batch."""
        if planned.rolled_back or (planned.ended and self._ops.is_full_with(planned.ended)):
            planned.op_offsets = self._ops.lay_out(plan, planned.ended)

    def carried_out(self, planned: PlannedTransactions) -> None:
        metrics = self._metrics
        for topic, count in planned.halves.items():
            metrics.add(topic, count)
        if not planned.ended:
            return
        self._ledger.end_all(planned.ended)
        for (topic, half_s), count in planned.committed.items():
            metrics.committed(topic, half_s, count)
            metrics.add(topic, -count)
        for topic, count in planned.rolled_back.items():
            metrics.rolled_back(topic, count)
            metrics.add(topic, -count)
        if planned.op_offsets:
            self._ops.told(planned.op_offsets, planned.ended)
        else:
            self._ops.add_all(planned.ended)
