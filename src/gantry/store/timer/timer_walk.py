"""Walks what waits, in the order of its time, a bounded stretch at a call.

Theory. The wheel has its slots by time, a slot's entries form a chain from the newest to the oldest, and each entry carries
the hash of the topic that its message goes to. So a topic's timers are found without a record being read; a place to go on
at is a slot and a position in its chain, and stays good whatever enters or fires meanwhile.
"""

from __future__ import annotations

from typing import NamedTuple

from gantry.protocol.disk.timer_log_unit import NO_POSITION, TimerLogUnit

from .timer_book import TimerBook

_SLOTS_A_LOOK = 16
"""Looking at a slot that was never used costs about so much less than reading an entry."""


class WalkPlace(NamedTuple):
    """Where to go on: a slot, and the entry in its chain; NO_POSITION for the chain's newest. Units: ms, bytes."""

    slot_ms: int
    position: int = NO_POSITION


class Walked(NamedTuple):
    """Entries found, each with its position, and where to go on; None when the end was reached."""

    entries: list[tuple[int, TimerLogUnit]]
    place: WalkPlace | None


def walk(
    book: TimerBook,
    place: WalkPlace,
    *,
    begin_ms: int,
    end_ms: int,
    topic_hash: int,
    count_max: int,
    look_max: int,
) -> Walked:
    """Entries of messages for a topic that wait in slots before `end_ms`, marks that recall left out. Blocking.

    Slots before `begin_ms` are looked through for entries that are put back when they fire: their messages are due later.
    Stops after `count_max` entries, or when `look_max` were looked at. Other topics may have the same hash.
    """
    step = book.precision_ms
    found: list[tuple[int, TimerLogUnit]] = []
    slot_ms, position = book.floor(place.slot_ms), place.position
    if slot_ms < book.read_time_ms:
        slot_ms, position = book.read_time_ms, NO_POSITION  # that slot has fired meanwhile
    end_ms = min(end_ms, book.read_time_ms + book.wheel.slot_count * step)
    looks = look_max * _SLOTS_A_LOOK
    while slot_ms < end_ms:
        if looks <= 0:
            return Walked(found, WalkPlace(slot_ms, position))
        looks -= 1
        if position == NO_POSITION:
            blank_upto = book.wheel.skip_blank(slot_ms)
            if blank_upto > slot_ms:
                slot_ms = blank_upto
                continue
            slot = book.wheel.get(slot_ms)
            position = slot.last_position if slot is not None else NO_POSITION
        only_rolling = slot_ms < begin_ms
        while position != NO_POSITION:
            if len(found) >= count_max or looks <= 0:
                return Walked(found, WalkPlace(slot_ms, position))
            looks -= _SLOTS_A_LOOK
            unit = book.log.read(position)
            if unit is None:
                break  # older entries went with the part of the log they spoke of
            if unit.topic_hash == topic_hash and not unit.recalls and (unit.rolls or not only_rolling):
                found.append((position, unit))
            position = unit.previous_position if unit.previous_position < position else NO_POSITION
        slot_ms, position = slot_ms + step, NO_POSITION
    return Walked(found, None)
