"""What sends, pulls and listeners answer."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from gantry.model import MessageExt, MessageQueue
from gantry.protocol.remoting.codes import ResponseCode


class SendStatus(enum.Enum):
    """How safe a stored message is. All but SEND_OK: stored on the master, without what its flush or copy mode promises."""

    SEND_OK = "SEND_OK"
    FLUSH_DISK_TIMEOUT = "FLUSH_DISK_TIMEOUT"
    FLUSH_SLAVE_TIMEOUT = "FLUSH_SLAVE_TIMEOUT"
    SLAVE_NOT_AVAILABLE = "SLAVE_NOT_AVAILABLE"


SEND_STATUS_BY_CODE: dict[int, SendStatus] = {
    ResponseCode.SUCCESS: SendStatus.SEND_OK,
    ResponseCode.FLUSH_DISK_TIMEOUT: SendStatus.FLUSH_DISK_TIMEOUT,
    ResponseCode.FLUSH_SLAVE_TIMEOUT: SendStatus.FLUSH_SLAVE_TIMEOUT,
    ResponseCode.SLAVE_NOT_AVAILABLE: SendStatus.SLAVE_NOT_AVAILABLE,
}


@dataclass(frozen=True, slots=True)
class SendResult:
    """Where a message went.

    message_id is the id the producer made (comma-joined for a batch), offset_message_id the one the broker made;
    queue_offset is in queue entries, of the first message of a batch.
    """

    status: SendStatus
    message_id: str
    offset_message_id: str
    queue: MessageQueue
    queue_offset: int
    transaction_id: str | None = None
    recall_handle: str | None = None
    region_id: str | None = None
    trace_on: bool = True


class PullStatus(enum.Enum):
    FOUND = "FOUND"
    NO_NEW_MSG = "NO_NEW_MSG"
    NO_MATCHED_MSG = "NO_MATCHED_MSG"
    OFFSET_ILLEGAL = "OFFSET_ILLEGAL"


PULL_STATUS_BY_CODE: dict[int, PullStatus] = {
    ResponseCode.SUCCESS: PullStatus.FOUND,
    ResponseCode.PULL_NOT_FOUND: PullStatus.NO_NEW_MSG,
    ResponseCode.PULL_RETRY_IMMEDIATELY: PullStatus.NO_MATCHED_MSG,
    ResponseCode.PULL_OFFSET_MOVED: PullStatus.OFFSET_ILLEGAL,
}


@dataclass(frozen=True, slots=True)
class PullResult:
    """Answer to one pull. Offsets are queue entries; next_begin_offset is where to go on, whatever the status."""

    status: PullStatus
    next_begin_offset: int
    min_offset: int
    max_offset: int
    messages: list[MessageExt] = field(default_factory=list)
    suggest_broker_id: int = 0


class PopStatus(enum.Enum):
    """FOUND; NOT_FOUND: nothing came in the time it waited; FULL: too many wait at the broker already."""

    FOUND = "FOUND"
    NOT_FOUND = "NOT_FOUND"
    FULL = "FULL"


POP_STATUS_BY_CODE: dict[int, PopStatus] = {
    ResponseCode.SUCCESS: PopStatus.FOUND,
    ResponseCode.POLLING_FULL: PopStatus.FULL,
    ResponseCode.POLLING_TIMEOUT: PopStatus.NOT_FOUND,
    ResponseCode.PULL_NOT_FOUND: PopStatus.NOT_FOUND,
}


@dataclass(frozen=True, slots=True)
class PopResult:
    """Answer to one pop; each message carries its handle in the property POP_CK."""

    status: PopStatus
    messages: list[MessageExt] = field(default_factory=list)


class ConsumeResult(enum.Enum):
    """What a listener says of its messages. None means SUCCESS, an exception RECONSUME_LATER."""

    SUCCESS = "SUCCESS"
    RECONSUME_LATER = "RECONSUME_LATER"


class RetryLater(Exception):
    """Raised by a listener that wants its messages again at a time of its choice.

    delay_level: 0 lets the broker choose by the number of attempts, 1..18 is an official delay level, -1 gives up: the
    messages go to the group's dead letter topic. Orderly listeners wait suspend_ms (10..30000) instead.
    """

    def __init__(self, delay_level: int = 0, *, suspend_ms: int | None = None) -> None:
        super().__init__(f"retry at delay level {delay_level}")
        self.delay_level = delay_level
        self.suspend_ms = suspend_ms
