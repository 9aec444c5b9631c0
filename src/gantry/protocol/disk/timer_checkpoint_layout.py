"""config/timercheck: how far the timer has come. Its first 56 bytes are also the answer to GET_TIMER_CHECK_POINT.

Shape:  4096 bytes on disk; i8 lastReadTimeMs @0, lastTimerLogFlushPos @8, lastTimerQueueOffset @16, masterTimerQueueOffset
        @24, stateVersion @32, version timestamp @40, version counter @48, big-endian; the rest is zero. A file of before
        5.0 ends after 32 bytes.
Units:  times in ms since 1970 UTC, the position in bytes of the timer log, offsets in entries of the timer's queue.
Source: TimerCheckpoint (5.5); docs/format/timer.md.
"""

from __future__ import annotations

import struct

import msgspec

TIMER_CHECKPOINT_FILE_SIZE = 4096
_LAYOUT = struct.Struct(">7q")
_OLD = struct.Struct(">4q")
TIMER_CHECKPOINT_SIZE = _LAYOUT.size


class TimerCheckpoint(msgspec.Struct):
    last_read_time_ms: int = 0
    last_timer_log_flush_pos: int = 0
    last_timer_queue_offset: int = 0
    master_timer_queue_offset: int = 0
    state_version: int = 0
    version_timestamp: int = 0
    version_counter: int = 0


def encode_timer_checkpoint(checkpoint: TimerCheckpoint) -> bytes:
    """The 56 bytes."""
    return _LAYOUT.pack(*(getattr(checkpoint, name) for name in checkpoint.__struct_fields__))


def decode_timer_checkpoint(data: bytes) -> TimerCheckpoint | None:
    """The fields of a file or an answer; None when it is too short to be one."""
    if len(data) >= _LAYOUT.size:
        return TimerCheckpoint(*_LAYOUT.unpack_from(data))
    return TimerCheckpoint(*_OLD.unpack_from(data)) if len(data) >= _OLD.size else None
