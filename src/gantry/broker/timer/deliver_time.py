"""When a sender wants its message delivered, and where the message waits meanwhile. Pure."""

from __future__ import annotations

from typing import NamedTuple

from gantry.model import message_const, topic_validator

TIMER_PROPERTIES = (message_const.TIMER_DELIVER_MS, message_const.TIMER_DELAY_MS, message_const.TIMER_DELAY_SEC)
_BOOKKEEPING = (
    message_const.TIMER_ENQUEUE_MS,
    message_const.TIMER_DEQUEUE_MS,
    message_const.TIMER_ROLL_TIMES,
)
_INT64_MAX = (1 << 63) - 1


class TimerIllegal(ValueError):
    """The time is no number, too far away, or already over for a mark that recalls."""


class Waiting(NamedTuple):
    """Where a message waits. Units: `out_ms` is the slot's time; the message is due when that slot is over."""

    topic: str
    queue_id: int
    out_ms: int


def is_timed(properties: dict[str, str]) -> bool:
    """The sender asks for a time. A message that came out of a timer and is sent on asks for none any more."""
    return message_const.TIMER_OUT_MS not in properties and any(name in properties for name in TIMER_PROPERTIES)


def forget_time(properties: dict[str, str]) -> None:
    """A delay level on the same message wins: the time is dropped. Source: HookUtils.checkIfTimerMessage (5.5)."""
    for name in TIMER_PROPERTIES:
        properties.pop(name, None)


def deliver_ms(properties: dict[str, str], now_ms: int) -> int:
    """The time asked for, wall clock ms. Of several properties the delay in seconds counts first, then ms, then the time.

    Raises: TimerIllegal when it is no 64-bit number.
    """
    seconds = properties.get(message_const.TIMER_DELAY_SEC)
    if seconds is not None:
        return _long(now_ms + _long(_number(seconds)) * 1000)
    delay = properties.get(message_const.TIMER_DELAY_MS)
    if delay is not None:
        return _long(now_ms + _long(_number(delay)))
    return _long(_number(properties.get(message_const.TIMER_DELIVER_MS, "")))


def to_timer_topic(
    properties: dict[str, str], topic: str, queue_id: int, *, now_ms: int, precision_ms: int, delay_max_ms: int
) -> Waiting | None:
    """Notes time and destination in `properties` and says where the message waits; None when it is due already.

    Raises: TimerIllegal. Source: HookUtils.transformTimerMessage (5.5).
    """
    at_ms = deliver_ms(properties, now_ms)
    if at_ms <= now_ms:
        if message_const.TIMER_DEL_UNIQKEY in properties:
            raise TimerIllegal("the message to be recalled is due already")
        return None
    if at_ms - now_ms > delay_max_ms:
        raise TimerIllegal(f"{at_ms - now_ms} ms from now is beyond {delay_max_ms} ms")
    # The slot before the time: it fires when it is over. A time between two slots comes up to one precision later, never early.
    out_ms = at_ms - precision_ms if at_ms % precision_ms == 0 else at_ms - at_ms % precision_ms
    for name in _BOOKKEEPING:
        properties.pop(name, None)
    properties[message_const.TIMER_OUT_MS] = str(out_ms)
    properties[message_const.REAL_TOPIC] = topic
    properties[message_const.REAL_QUEUE_ID] = str(queue_id)
    return Waiting(topic_validator.TIMER_TOPIC, 0, out_ms)


def _number(text: str) -> int:
    digits = text[1:] if text[:1] in "+-" else text
    if not digits.isascii() or not digits.isdigit() or len(digits) > 20:
        raise TimerIllegal(f"{text[:32]!r} is no number")
    return int(text)


def _long(value: int) -> int:
    if not -_INT64_MAX <= value <= _INT64_MAX:
        raise TimerIllegal(f"{value} is no time")
    return value
