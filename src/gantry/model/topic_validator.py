"""Which topic and group names exist by themselves and which names are allowed.

The remarks are interface: clients and scripts match them.
Source: TopicValidator (5.3).
"""

from __future__ import annotations

import re

from gantry.model import names

DEFAULT_TOPIC = "TBW102"
SCHEDULE_TOPIC = "SCHEDULE_TOPIC_XXXX"
BENCHMARK_TOPIC = "BenchmarkTest"
TRANS_HALF_TOPIC = "RMQ_SYS_TRANS_HALF_TOPIC"
TRANS_OP_HALF_TOPIC = "RMQ_SYS_TRANS_OP_HALF_TOPIC"
ROCKSDB_TRANS_HALF_TOPIC = "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC"
ROCKSDB_TRANS_OP_HALF_TOPIC = "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC"
TRACE_TOPIC = "RMQ_SYS_TRACE_TOPIC"
TRANS_CHECK_MAX_TIME_TOPIC = "TRANS_CHECK_MAX_TIME_TOPIC"
SELF_TEST_TOPIC = "SELF_TEST_TOPIC"
OFFSET_MOVED_EVENT = "OFFSET_MOVED_EVENT"
CHECKPOINT_TOPIC = "CHECKPOINT_TOPIC"
TIMER_TOPIC = "rmq_sys_wheel_timer"
SYSTEM_TOPIC_PREFIX = "rmq_sys_"
REVIVE_TOPIC_PREFIX = "rmq_sys_REVIVE_LOG_"
SYNC_BROKER_MEMBER_PREFIX = "rmq_sys_SYNC_BROKER_MEMBER_"

TOPIC_LENGTH_MAX = 127
RETRY_OR_DLQ_TOPIC_LENGTH_MAX = 255
GROUP_LENGTH_MAX = 120

SYSTEM_TOPICS = frozenset(
    {
        DEFAULT_TOPIC,
        SCHEDULE_TOPIC,
        BENCHMARK_TOPIC,
        TRANS_HALF_TOPIC,
        TRANS_OP_HALF_TOPIC,
        ROCKSDB_TRANS_HALF_TOPIC,
        ROCKSDB_TRANS_OP_HALF_TOPIC,
        TRACE_TOPIC,
        TRANS_CHECK_MAX_TIME_TOPIC,
        SELF_TEST_TOPIC,
        OFFSET_MOVED_EVENT,
        CHECKPOINT_TOPIC,
    }
)

NOT_ALLOWED_SEND_TOPICS = frozenset(
    {
        SCHEDULE_TOPIC,
        TRANS_HALF_TOPIC,
        TRANS_OP_HALF_TOPIC,
        ROCKSDB_TRANS_HALF_TOPIC,
        ROCKSDB_TRANS_OP_HALF_TOPIC,
        TRANS_CHECK_MAX_TIME_TOPIC,
        SELF_TEST_TOPIC,
        OFFSET_MOVED_EVENT,
        TIMER_TOPIC,
    }
)

_ALLOWED = re.compile(r"[%|a-zA-Z0-9_-]+\Z")
_ALLOWED_SHOWN = "^[%|a-zA-Z0-9_-]+$"


def is_system_topic(topic: str) -> bool:
    return topic in SYSTEM_TOPICS or topic.startswith(SYSTEM_TOPIC_PREFIX)


def is_not_allowed_send_topic(topic: str) -> bool:
    """Topics that only the broker itself may write to."""
    return topic in NOT_ALLOWED_SEND_TOPICS


def validate_topic(topic: str | None) -> str | None:
    """What is wrong with a topic's name, in the official words; None when nothing is.

    Units: lengths in characters (the alphabet is ASCII, so also in bytes).
    """
    if topic is None or not topic.strip():
        return "The specified topic is blank."
    if not _ALLOWED.match(topic):
        return f"The specified topic: {topic}, contains illegal characters, allowing only {_ALLOWED_SHOWN}"
    if names.is_retry_topic(topic) or names.is_dlq_topic(topic):
        if len(topic) > RETRY_OR_DLQ_TOPIC_LENGTH_MAX:
            return (
                f"The specified topic is DLQ or Retry topic: {topic}, and it's longer than topic max length: "
                f"{RETRY_OR_DLQ_TOPIC_LENGTH_MAX}"
            )
    elif len(topic) > TOPIC_LENGTH_MAX:
        return f"The specified topic: {topic}, is longer than topic max length: {TOPIC_LENGTH_MAX}"
    return None


def validate_group(group: str | None) -> str | None:
    """What is wrong with a group's name, in the official words; None when nothing is."""
    if group is None or not group.strip():
        return "The specified group is blank."
    if not _ALLOWED.match(group):
        return f"The specified group: {group}, contains illegal characters, allowing only {_ALLOWED_SHOWN}"
    if len(group) > GROUP_LENGTH_MAX:
        return f"The specified group: {group}, is longer than group max length: {GROUP_LENGTH_MAX}"
    return None
