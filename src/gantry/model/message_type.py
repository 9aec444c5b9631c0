"""The kind of a message, as its properties say it."""

from __future__ import annotations

from collections.abc import Mapping

from gantry.model import message_const

TRANSACTION = "TRANSACTION"
DELAY = "DELAY"
FIFO = "FIFO"
PRIORITY = "PRIORITY"
LITE = "LITE"
NORMAL = "NORMAL"

_BY_PROPERTY = (
    (message_const.DELAY_TIME_LEVEL, DELAY),
    (message_const.TIMER_DELIVER_MS, DELAY),
    (message_const.TIMER_DELAY_SEC, DELAY),
    (message_const.TIMER_DELAY_MS, DELAY),
    (message_const.SHARDING_KEY, FIFO),
    (message_const.PRIORITY, PRIORITY),
    (message_const.LITE_TOPIC, LITE),
)


def message_type(properties: Mapping[str, str]) -> str:
    """Source: TopicMessageType.parseFromMessageProperty (5.5)."""
    if properties.get(message_const.TRANSACTION_PREPARED, "").lower() == "true":
        return TRANSACTION
    return next((kind for name, kind in _BY_PROPERTY if name in properties), NORMAL)


def priority_of(properties: Mapping[str, str]) -> int:
    """The priority that a sender asks for, -1 for none or one that is no number. Source: Message.getPriority (5.5)."""
    text = properties.get(message_const.PRIORITY, "")
    try:
        return int(text) if text.lstrip("+-").isdecimal() and text.isascii() else -1
    except ValueError:
        return -1
