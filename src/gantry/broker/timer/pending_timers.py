"""Which messages wait: by message key or unique id through the index, by time through the wheel.

Theory. A message of the timer's topic waits as long as the slot of its time has not begun to fire; of its copies (a message
due beyond the wheel is put back on the way) the newest stands for it. Whether a mark recalls it the index says, for a mark has
the unique id of its message as its key, and counts when it is for the same slot. So nothing is kept in memory for this, and
what one question looks at is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from gantry._core import java_string_hash
from gantry.errors import MQError
from gantry.model import Host, message_const, topic_validator
from gantry.protocol.message.record import RecordView
from gantry.store.timer import WalkPlace, walk

from .due_message import TimerMessage, timer_message

if TYPE_CHECKING:
    from gantry.store import MessageStore

    from .timer_message_service import TimerMessageService

TOPIC = topic_validator.TIMER_TOPIC
INDEX_LOOK_MAX = 4096
"""Index entries of a key that are looked at: messages of the timer that ever had it, and hashes that are alike by chance."""
LOOKS_AT_ONCE = 64
"""Records looked at before others have their turn."""
WALK_LOOK_MAX = 20_000
"""Entries of the timer log that one request looks at: some 50 ms."""


class TooMany(MQError):
    """More messages have had this key than one request looks at, or more wait than it asked for."""


class Pending(NamedTuple):
    """A message that waits. `offset` is its record's; `out_ms` its time, in whole slots; it comes at `deliver_ms`."""

    offset: int
    topic: str
    queue_id: int
    unique_key: str
    keys: str
    tags: str
    out_ms: int
    deliver_ms: int
    stored_ms: int
    body_size: int
    roll_times: int
    born_timestamp: int
    born_host: Host

    @property
    def identity(self) -> tuple[str, int, int, Host]:
        """Equal for the copies of one send."""
        return self.unique_key, self.out_ms, self.born_timestamp, self.born_host


class PendingTimers:
    """Questions about the timer of one broker."""

    def __init__(self, store: MessageStore, timer: TimerMessageService) -> None:
        self._store = store
        self._timer = timer

    async def by_key(self, topic: str, key: str) -> list[Pending]:
        """Messages that wait for a topic and have this message key, in the order of their time. Raises: TooMany."""
        book = self._timer.book
        seen: dict[str, None] = {}
        async for message in self._indexed(topic, key):
            if self._timer.is_to_come(book.floor(message.out_ms)) and has_key(message, key):
                seen.setdefault(message.unique_key)
        found: list[Pending] = []
        for unique_key in seen:
            alike, _ = await self.by_unique_key(topic, unique_key)
            found += [each for each in alike if key in each.keys.split(message_const.KEY_SEPARATOR)]
        return sorted(found, key=lambda each: (each.out_ms, each.offset))

    async def by_unique_key(self, topic: str, unique_key: str) -> tuple[list[Pending], set[int]]:
        """Messages with this unique id that wait, and the times at which a mark recalls all that have it. Raises: TooMany.

        A send that was repeated may have left two; one that was rescheduled and whose broker was killed meanwhile, too.
        """
        newest: dict[tuple[str, int, int, Host], Pending] = {}
        recalled: set[int] = set()
        async for message in self._indexed(topic, unique_key):
            if message.recalls is not None:
                if message.recalls == unique_key:
                    recalled.add(self._timer.book.floor(message.out_ms))
            elif message.unique_key == unique_key:
                pending = self._pending(message)
                known = newest.get(pending.identity)
                if known is None or known.roll_times < pending.roll_times:
                    newest[pending.identity] = pending
        waiting = [each for each in newest.values() if each.out_ms not in recalled and self._timer.is_to_come(each.out_ms)]
        return sorted(waiting, key=lambda each: (each.out_ms, each.offset)), recalled

    async def page(
        self, topic: str, place: WalkPlace, *, begin_ms: int, end_ms: int, count_max: int
    ) -> tuple[list[Pending], WalkPlace | None]:
        """Messages that wait for a topic and come within [begin, end), in the order of their slots, and where to go on.

        What comes, enters or is recalled between two pages may be in both or in none of them.
        """
        step = self._timer.book.precision_ms
        walked = await self._timer.with_book(
            walk,
            place,
            begin_ms=begin_ms - step,
            end_ms=end_ms - step,
            topic_hash=java_string_hash(topic),
            count_max=count_max,
            look_max=WALK_LOOK_MAX,
        )
        found = []
        for position, unit in walked.entries:
            message = await self._timer.message_of(position, unit)
            if message is None or message.topic != topic:
                continue
            pending = self._pending(message)
            if begin_ms <= pending.deliver_ms < end_ms and not await self._is_recalled(pending):
                found.append(pending)
        return found, walked.place

    async def _is_recalled(self, pending: Pending) -> bool:
        if not pending.unique_key:
            return False
        _, recalled = await self.by_unique_key(pending.topic, pending.unique_key)
        return pending.out_ms in recalled

    async def _indexed(self, topic: str, key: str) -> AsyncIterator[TimerMessage]:
        """What the index has under a key and goes to this topic, newest first. Raises: TooMany."""
        offsets = await self._store.index_offsets(TOPIC, key, INDEX_LOOK_MAX + 1)
        if len(offsets) > INDEX_LOOK_MAX:
            raise TooMany(f"more than {INDEX_LOOK_MAX} messages of the timer have had the key {key}; ask by unique id")
        for number, offset in enumerate(offsets):
            if number % LOOKS_AT_ONCE == LOOKS_AT_ONCE - 1:
                await asyncio.sleep(0)
            record = await self._store.message_at(offset)
            message = timer_message(record) if record is not None and RecordView(record).topic == TOPIC else None
            if message is not None and message.topic == topic:
                yield message

    def _pending(self, message: TimerMessage) -> Pending:
        view, book = message.view, self._timer.book
        out_ms = book.floor(message.out_ms)
        return Pending(
            offset=view.physical_offset,
            topic=message.topic,
            queue_id=message.queue_id,
            unique_key=message.unique_key,
            keys=message.properties.get(message_const.KEYS, ""),
            tags=message.properties.get(message_const.TAGS, ""),
            out_ms=out_ms,
            deliver_ms=out_ms + book.precision_ms,
            stored_ms=view.store_timestamp,
            body_size=len(view.body),
            roll_times=message.roll_times,
            born_timestamp=view.born_timestamp,
            born_host=view.born_host,
        )


def has_key(message: TimerMessage, key: str) -> bool:
    return key in message.properties.get(message_const.KEYS, "").split(message_const.KEY_SEPARATOR)
