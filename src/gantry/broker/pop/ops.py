"""What can happen to the ledger, as values: the same ones live and when the journal is read again."""

from __future__ import annotations

from typing import NamedTuple


class QueueOp(NamedTuple):
    """A queue of a group gets a number; later operations name it by that. Numbers are given from 0 on."""

    queue: int
    topic: str
    group: str
    queue_id: int


class PopOp(NamedTuple):
    """Messages were handed out; the next pop begins at `next_offset`. No offsets: only that moves.

    Units: pop_time is wall clock ms and goes into handles; deadline is ledger time ms (see `PopLedger`).
    """

    queue: int
    next_offset: int
    pop_time: int
    deadline: int
    offsets: tuple[int, ...]


class AckOp(NamedTuple):
    """Messages are done: acknowledged, or gone from the store."""

    queue: int
    offsets: tuple[int, ...]


class ChangeOp(NamedTuple):
    """A message gets a new handle and a new deadline."""

    queue: int
    offset: int
    pop_time: int
    deadline: int


class MovedOp(NamedTuple):
    """A message was appended again, to its retry or dead letter topic; the copy ends at `log_end` (bytes of the log)."""

    queue: int
    offset: int
    log_end: int


class DropOp(NamedTuple):
    """Everything about a queue is forgotten: its topic or group was deleted."""

    queue: int


class OrderOp(NamedTuple):
    """What an orderly pop has out at a queue, as `consumerOrderInfo.json` says it, and the committed offset."""

    queue: int
    committed: int
    info: bytes


class OffsetsOp(NamedTuple):
    """`consumerOffset.json` is about to be replaced by content with this CRC-32 and size in bytes."""

    crc: int
    size: int


class ChainOp(NamedTuple):
    """First record of a journal: how long the one before it was when this began."""

    generation: int
    previous_bytes: int


class TimeOp(NamedTuple):
    """Ledger time had come so far: a restart goes on from here, wherever the wall clock has gone. Units: ms."""

    now: int


Op = QueueOp | PopOp | AckOp | ChangeOp | MovedOp | DropOp | OrderOp | OffsetsOp | ChainOp | TimeOp
