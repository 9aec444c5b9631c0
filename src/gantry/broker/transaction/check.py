"""What a round of checks does with one open half message. Pure."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from .half_message import Half


class CheckRules(NamedTuple):
    """Units: ms. Source: transactionTimeOut, transactionCheckMax (5.5)."""

    timeout_ms: int
    check_max: int


class Verdict(Enum):
    """How a round goes on at a half that is open."""

    WAIT = "wait"
    """It is too young, and so are those behind it: the round ends here."""
    KEEP = "keep"
    """Its sender wants it left alone: it is appended again, so that those behind it have their turn."""
    CHECK = "check"
    """It is appended again with one check more, and a producer of its group is asked."""
    PARK = "park"
    """It was asked for often enough: it is set aside."""


def judge(half: Half, *, end: int, now_ms: int, rules: CheckRules) -> Verdict:
    """One half in a round before which the queue ended at offset `end`; ages are by its producer's clock, as its born time is.

    What was stored since the round began, an appended copy of this round above all, has the next round to itself: the last
    check, too, leaves a producer that long to answer. A half that is born later than now says nothing of its age (one of the
    clocks is wrong), and is checked. Within its immunity a half is not counted as checked; the original counts it, and sets
    it aside without having asked when the immunity is longer than fifteen rounds.
    Source: TransactionalMessageServiceImpl.check (5.5).
    """
    view = half.view
    if view.queue_offset >= end:
        return Verdict.WAIT
    age_ms = now_ms - view.born_timestamp
    immunity_ms = half.immunity_ms
    if immunity_ms is not None:
        if age_ms <= immunity_ms:
            return Verdict.KEEP
    elif 0 <= age_ms <= rules.timeout_ms:
        return Verdict.WAIT
    return Verdict.PARK if half.check_times >= rules.check_max else Verdict.CHECK


def comes_too_late(half: Half, *, now_ms: int, timeout_ms: int) -> bool:
    """Whether an end that nobody asked for is refused: the half's immunity is over, and its producers are asked by now.

    Source: EndTransactionProcessor.rejectCommitOrRollback, TransactionalMessageUtil.getImmunityTime (5.5).
    """
    immunity_ms = half.immunity_ms
    return immunity_ms is not None and now_ms - half.view.born_timestamp > max(immunity_ms, timeout_ms)
