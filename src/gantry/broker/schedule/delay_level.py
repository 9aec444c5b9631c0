"""Delay levels: what `messageDelayLevel` says, and where a delayed message waits."""

from __future__ import annotations

import re

from gantry.errors import ConfigError
from gantry.model import message_const, topic_validator

DEFAULT_DELAY_LEVELS = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"

_UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LEVEL = re.compile(r"([0-9]{1,9})([smhd])\Z")


def parse_delay_levels(text: str) -> list[int]:
    """Delays by level: index 0 is level 1.

    Units: ms. Raises: ConfigError for a part that is not a number and one of s, m, h, d, and for no part at all.
    Source: ScheduleMessageService.parseDelayLevel (5.3).
    """
    delays = []
    for part in text.split():
        match = _LEVEL.match(part)
        if match is None:
            raise ConfigError(f"messageDelayLevel: {part!r} is not a number followed by s, m, h or d")
        delays.append(int(match[1]) * _UNIT_MS[match[2]])
    if not delays:
        raise ConfigError("messageDelayLevel names no level")
    return delays


def level_queue_id(level: int) -> int:
    """Queue of the schedule topic in which messages of this level wait."""
    return level - 1


def to_schedule_topic(properties: dict[str, str], topic: str, queue_id: int, level: int, max_level: int) -> tuple[str, int]:
    """Marks a message as delayed: notes its destination in `properties`, returns where it waits meanwhile.

    A level above the highest counts as the highest.
    Source: HookUtils.transformDelayLevelMessage (5.3).
    """
    if level > max_level:
        level = max_level
        properties[message_const.DELAY_TIME_LEVEL] = str(level)
    properties[message_const.REAL_TOPIC] = topic
    properties[message_const.REAL_QUEUE_ID] = str(queue_id)
    return topic_validator.SCHEDULE_TOPIC, level_queue_id(level)
