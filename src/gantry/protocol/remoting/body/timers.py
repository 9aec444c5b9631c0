"""Answers about timers; all ours."""

from __future__ import annotations

import msgspec


class PendingTimer(msgspec.Struct, rename="camel"):
    """A message that waits. Units: `deliver_ms` is when it comes, `stored_ms` when it was sent; sizes in bytes."""

    topic: str = ""
    queue_id: int = 0
    unique_key: str = ""
    keys: str = ""
    tags: str = ""
    deliver_ms: int = 0
    stored_ms: int = 0
    body_size: int = 0


class TimersPage(msgspec.Struct, rename="camel"):
    """Answer to LIST_TIMERS. `place` is where to go on, None at the end; a page may have few timers, or none, and not be the
    last: what one request looks at is bounded."""

    timers: list[PendingTimer] = msgspec.field(default_factory=list)
    place: str | None = None


class TimerChange(msgspec.Struct, rename="camel"):
    """What was done to one timer.

    `outcome`: "cancelled", "rescheduled", "unchanged" (it was due then already) or "due" (too late: its time is now or over).
    `new_unique_key` and `new_deliver_ms` are those of the message that comes instead; a time of the past is now.
    """

    timer: PendingTimer = msgspec.field(default_factory=PendingTimer)
    outcome: str = ""
    new_unique_key: str | None = None
    new_deliver_ms: int | None = None


class TimerChanges(msgspec.Struct, rename="camel"):
    """Answer to CANCEL_TIMERS and RESCHEDULE_TIMERS."""

    changes: list[TimerChange] = msgspec.field(default_factory=list)


class RecurringTimer(msgspec.Struct, rename="camel"):
    """A message by a cron expression. `next_ms` is the next time of delivery, None when there is none any more."""

    name: str = ""
    topic: str = ""
    queue_id: int = -1
    cron: str = ""
    time_zone: str = "UTC"
    missed: str = "once"
    properties: dict[str, str] = msgspec.field(default_factory=dict)
    body_size: int = 0
    created_ms: int = 0
    next_ms: int | None = None


class RecurringTimers(msgspec.Struct, rename="camel"):
    """Answer to LIST_RECURRING_TIMERS."""

    timers: list[RecurringTimer] = msgspec.field(default_factory=list)
