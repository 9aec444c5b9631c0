"""`gantry/timerState.json`: our own account of the timer, replaced as a whole, so that a crash finds the old one or the new.

The official `config/timercheck` says much of the same, but is written in place and has no place for the rest.
"""

from __future__ import annotations

import msgspec


class TopicCount(msgspec.Struct, rename="camel"):
    """Pending timers of a topic. Units: `time_stamp` in ms, of the last change."""

    count: int = 0
    time_stamp: int = 0


class TimerState(msgspec.Struct, rename="camel"):
    """How far the timer has come.

    Everything below `log_position` in the timer log is on the disk; the wheel on the disk has at least what lies below
    `base_position`. Of the timer's queue the entries below `queue_offset` are in the timer log; slots before `read_time_ms`
    have fired. No copy of a message of a later slot lies below `scan_offset` in the log. Records below `moved_below` have been
    appended again; while `moving_to` is above it, that is under way. The timer log before `first_position` may be gone.
    `checks` are the first bytes of `config/timercheck`, as they are or are about to be: others there are of a Java broker.
    Units: positions in bytes of the timer log, offsets in bytes of the log, `queue_offset` in entries, times in ms.
    """

    precision_ms: int = 0
    log_position: int = 0
    base_position: int = 0
    queue_offset: int = 0
    read_time_ms: int = 0
    scan_offset: int = 0
    moved_below: int = 0
    moving_to: int = 0
    first_position: int = 0
    version_counter: int = 0
    checks: list[str] = msgspec.field(default_factory=list)
    counts: dict[str, TopicCount] = msgspec.field(default_factory=dict)


def encode_timer_state(state: TimerState) -> bytes:
    return msgspec.json.encode(state)


def decode_timer_state(data: bytes) -> TimerState:
    """Raises: ValueError."""
    try:
        return msgspec.json.decode(data, type=TimerState)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
