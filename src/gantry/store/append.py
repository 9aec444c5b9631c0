"""The append's twins: laid out records, the newest bytes of the log, the newest entries of a queue, pieces read lately.

Compiled where that was built (`_append_c.pyx`), else in pure Python; `GANTRY_CORE` chooses, as for all twins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry._core import ACCEL

from ._append_plan_py import (
    COMMON_PROPERTIES_MAX,
    ArrivalListener,
    CommonMessage,
    LogRange,
    Target,
    is_storable_topic,
)

if TYPE_CHECKING or ACCEL == "python":
    from ._append_plan_py import AppendPlan, PlanRules
    from ._hot_tail_py import HotTail
    from ._queue_tail_py import QueueTail
    from ._spans_py import Spans
else:
    from ._append_c import AppendPlan, HotTail, PlanRules, QueueTail, Spans

__all__ = [
    "COMMON_PROPERTIES_MAX",
    "AppendPlan",
    "ArrivalListener",
    "CommonMessage",
    "HotTail",
    "LogRange",
    "PlanRules",
    "QueueTail",
    "Spans",
    "Target",
    "is_storable_topic",
]
