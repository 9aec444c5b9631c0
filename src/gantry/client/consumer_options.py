"""Settings of a push consumer; the defaults are the official ones."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from gantry.model.topic_validator import TRACE_TOPIC

from .process_queue import FlowLimits


class MessageModel(enum.Enum):
    """CLUSTERING: the members of a group share the messages. BROADCASTING: every member gets all of them."""

    CLUSTERING = "CLUSTERING"
    BROADCASTING = "BROADCASTING"


class ConsumeFromWhere(enum.Enum):
    """Where a group begins in a queue in which it has no committed offset yet.

    A broker answers 0 for a young topic whose first message is still in its memory, and then this setting is not asked.
    """

    CONSUME_FROM_LAST_OFFSET = "CONSUME_FROM_LAST_OFFSET"
    CONSUME_FROM_FIRST_OFFSET = "CONSUME_FROM_FIRST_OFFSET"
    CONSUME_FROM_TIMESTAMP = "CONSUME_FROM_TIMESTAMP"


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """Units: times in ms, flow in messages and bytes per queue.

    consume_timestamp_ms   start for CONSUME_FROM_TIMESTAMP, ms since 1970 UTC
    concurrency            listeners that run at once (official: consumeThreadMax)
    max_reconsume_times    attempts before the dead letter topic; -1 means 16 (concurrent) or without end (orderly)
    consume_timeout_ms     an asynchronous listener is cancelled after it, and its messages come again
    stop_timeout_ms        how long stop() waits for listeners that run
    trace                  tell of each consumption in trace_topic; a broker has it with traceTopicEnable
    offset_dir             where broadcasting offsets are kept; None means ~/.rocketmq_offsets
    """

    consume_from_where: ConsumeFromWhere = ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET
    consume_timestamp_ms: int = 0
    concurrency: int = 20
    pull_batch_size: int = 32
    consume_message_batch_max_size: int = 1
    max_reconsume_times: int = -1
    suspend_current_queue_ms: int = 1000
    consume_timeout_ms: int = 15 * 60_000
    stop_timeout_ms: int = 10_000
    allocate_strategy: str = "AVG"
    flow: FlowLimits = field(default_factory=FlowLimits)
    hold_ms: int = 15_000
    pull_timeout_ms: int = 30_000
    rebalance_ms: int = 20_000
    persist_offset_ms: int = 5_000
    retry_pull_ms: int = 3_000
    offset_dir: str | None = None
    trace: bool = False
    trace_topic: str = TRACE_TOPIC
