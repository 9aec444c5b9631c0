"""What is out when retention is about to delete the log it lies in (promise F7).

Theory. An unacknowledged message must come back, and its record is about to go. So its copy for the retry or dead letter
topic is appended now, as a message of the timer that is due at the deadline: the log stays the only truth. Its original counts
as done when the copy is on the disk; an acknowledgement that comes after that finds nothing (its offset is below the queue's
first, which is answered with code 208), and the message comes once more. A copy that the timer cannot take (it is switched
off, the deadline is beyond its reach, the properties have no room for its marks) is given back at once: early, not lost.
Source: our decision; the original logs at the deadline that the message is not there, and drops it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gantry.errors import StoreError
from gantry.model import StoreMessage, message_const, names
from gantry.protocol.message.properties import PROPERTIES_SIZE_MAX, decode_properties, encode_properties

from ..timer.deliver_time import TimerIllegal, forget_time, to_timer_topic
from .ledger import Out, PopQueue
from .revive import AT_ONCE, Copy, PopReviveService, append_copies, revived

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.store import MessageStore

    from ..config import BrokerConfig
    from .account import PopAccount

log = logging.getLogger(__name__)

FIRING_PROPERTIES_MAX = 256
"""What the timer's marks may take of a message's properties, those of its firing included."""


class PopKeeper:
    """Appends again what is out below a place of the log."""

    def __init__(
        self, config: BrokerConfig, clock: Clock, store: MessageStore, account: PopAccount, revive: PopReviveService
    ) -> None:
        self._config = config
        self._clock = clock
        self._store = store
        self._account = account
        self._revive = revive
        store.before_deleting(self.keep)

    async def keep(self, physical_offset: int) -> bool:
        """Retention is about to delete the log below.

        Returns: whether nothing that is out lies there any more, with the copies on the disk; otherwise nothing may be deleted.
        """
        kept = 0
        try:
            for queue in list(self._account.ledger.all_queues()):
                kept += await self._keep_queue(queue, physical_offset)
            if kept or self._account.ledger.moved_count:
                if not await self._store.flush():
                    return False
                self._account.settle()
        except StoreError as error:
            log.error("popped messages below %d cannot be appended again: %s", physical_offset, error)
            return False
        if kept:
            log.info("%d popped messages below %d of the log were appended again before it is deleted", kept, physical_offset)
        return True

    async def _keep_queue(self, queue: PopQueue, physical_offset: int) -> int:
        """Raises: StoreError."""
        topic, _, queue_id = queue.key
        if not queue.slots or not self._revive.knows(queue):
            return 0
        # The log rises with the queue: what lies above the first that is out does so, too.
        if await self._physical_offset(topic, queue_id, queue.base) >= physical_offset:
            return 0
        kept, todo = 0, sorted(queue.slots)
        while todo and await self._physical_offset(topic, queue_id, todo[0]) < physical_offset:
            chunk, todo = todo[:AT_ONCE], todo[AT_ONCE:]
            outs = [out for offset in chunk if (out := self._account.ledger.out(queue, offset)) is not None]
            records = await self._revive.read(topic, queue_id, outs) if outs else {}
            found = [(out, records[out.offset]) for out in outs if out.offset in records]
            below = [(out, record) for out, record in found if record.physical_offset < physical_offset]
            if below:
                kept += self._append(queue, await self._revive.targets(queue, below))
            await asyncio.sleep(0)
        return kept

    async def _physical_offset(self, topic: str, queue_id: int, offset: int) -> int:
        found = self._store.physical_offset_at(topic, queue_id, offset)
        return found if isinstance(found, int) else await found

    def _append(self, queue: PopQueue, again: list[Copy]) -> int:
        """Raises: StoreError; everything is out as before then."""
        origin = names.normal_topic(queue.topic, queue.group)
        stored, refused = append_copies(
            self._store,
            self._account,
            queue,
            again,
            new_plan=self._store.new_rescue_plan,
            made=lambda out, record, target: self._timed(revived(record, target, origin, out.pop_time), out),
        )
        for out, error in refused:
            # The deadline says so once more, and drops it.
            log.error("message %d of %s cannot be appended again: %s", out.offset, queue.key, error)
        return len(stored)

    def _timed(self, message: StoreMessage, out: Out) -> StoreMessage:
        """The message as it waits for its deadline; as it is when it cannot wait."""
        if not self._config.timer_wheel_enable:
            return message
        properties = decode_properties(message.properties)
        forget_time(properties)
        now = self._clock.now_ms()
        properties[message_const.TIMER_DELIVER_MS] = str(now + out.deadline - self._account.time.now())
        try:
            waiting = to_timer_topic(
                properties,
                message.topic,
                message.queue_id,
                now_ms=now,
                precision_ms=self._config.timer_precision_ms,
                delay_max_ms=self._config.timer_max_delay_sec * 1000,
            )
        except TimerIllegal:
            return message
        encoded = encode_properties(properties)
        if waiting is None or len(encoded) > PROPERTIES_SIZE_MAX - FIRING_PROPERTIES_MAX:
            return message
        return message._replace(topic=waiting.topic, queue_id=waiting.queue_id, properties=encoded)
