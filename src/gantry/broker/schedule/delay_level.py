"""Where a delayed message waits, and how it remembers where it is going."""

from __future__ import annotations

from gantry.model import message_const, topic_validator


def level_queue_id(level: int) -> int:
    """Queue of the schedule topic in which messages of this level wait."""
    return level - 1


def to_schedule_topic(properties: dict[str, str], topic: str, queue_id: int, level: int, level_max: int) -> tuple[str, int]:
    """Marks a message as delayed: notes its destination in `properties`, returns where it waits meanwhile.

    A level above the highest counts as the highest.
    Source: HookUtils.transformDelayLevelMessage (5.3).
    """
    if level > level_max:
        level = level_max
        properties[message_const.DELAY_TIME_LEVEL] = str(level)
    properties[message_const.REAL_TOPIC] = topic
    properties[message_const.REAL_QUEUE_ID] = str(queue_id)
    return topic_validator.SCHEDULE_TOPIC, level_queue_id(level)
