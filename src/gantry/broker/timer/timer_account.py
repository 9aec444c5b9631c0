"""How far the timer has come, made certain: its start after whatever happened, and its checkpoints."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from gantry.errors import ProtocolError, StoreDamaged, StoreReadOnly
from gantry.model import topic_validator
from gantry.protocol import json_dialect
from gantry.protocol.message.record import RecordView
from gantry.store.timer import Found, TimerBook, TopicCount

from .copies import Copies
from .due_message import TimerMessage
from .timer_metrics import TimerMetrics

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.runtime.disk import Disk
    from gantry.store import MessageStore

    from ..config import BrokerConfig

log = logging.getLogger(__name__)

TOPIC = topic_validator.TIMER_TOPIC
QUEUE_ID = 0
SCAN_BYTES_MAX = 64 << 20
"""How much of the log a start may have to look through for copies; a slot that alone fills more is looked through whole."""
FOREIGN_MARGIN_MS = 60_000
CLEAN_INTERVAL_MS = 30_000


class SlotUnderWay(Protocol):
    """A slot that has begun to fire: the log's end at its begin, and what its messages changed of the counts since."""

    scan_offset: int
    changes: Counter[str]


class TimerAccount:
    """Owned by the timer's task. Checkpoints lie between slots, or name the log's end at the begin of the slot under way."""

    def __init__(
        self,
        book: TimerBook,
        config: BrokerConfig,
        disk: Disk,
        clock: Clock,
        store: MessageStore,
        *,
        directory: str,
        checksum_dir: str | None,
    ) -> None:
        self.metrics = TimerMetrics(disk, directory=directory, checksum_dir=checksum_dir, now_ms=clock.now_ms())
        self.found = Found.NOTHING
        self.dirty = False
        self.loaded = False
        self._book = book
        self._config = config
        self._disk = disk
        self._clock = clock
        self._store = store
        self._copies: Copies | None = None
        self._copies_until_ms = 0
        self._enter_until = 0
        self._pin: int | None = None
        self._saved_ms = 0
        self._cleaned_ms = 0

    # -- start

    async def load(self) -> None:
        """Reads and repairs the files, and finds what had fired. Raises: DiskError, StoreDamaged."""
        book, store = self._book, self._store
        found = await self._disk.run(book.load, self._clock.now_ms())
        end = store.max_offset(TOPIC, QUEUE_ID)
        if found is Found.NOTHING and end:
            found = Found.LOST
        self.found = found
        scan_from = store.max_physical_offset
        if found is Found.OWN and book.state is not None:
            scan_from = book.state.scan_offset
            self.metrics.counts = {topic: TopicCount(each.count, each.time_stamp) for topic, each in book.state.counts.items()}
        elif found is Found.FOREIGN:
            scan_from = await self._continue_foreign()
        elif found is Found.LOST:
            log.warning("the timer's files are made again from its topic, up to offset %d", end)
            scan_from = store.min_physical_offset
        first = await store.first_offset(TOPIC, QUEUE_ID)
        if not first <= book.queue_offset <= end and found is not Found.LOST:
            log.error("the timer had come to %d in its topic, which has %d to %d", book.queue_offset, first, end)
        book.queue_offset = min(max(book.queue_offset, first), end)
        await self._look_for_copies(scan_from)
        self._copies_until_ms = max(book.floor(self._clock.now_ms()), book.read_time_ms) + book.precision_ms
        self._enter_until = end
        self.loaded = True
        if found is not Found.NOTHING:
            log.info(
                "timer recovered (%s): read time %d, topic offset %d of %d, %d copies found",
                found.value,
                book.read_time_ms,
                book.queue_offset,
                end,
                len(self._copies) if self._copies is not None else 0,
            )

    async def _continue_foreign(self) -> int:
        """Where to look for copies of what a Java broker fired; sets the offset in the topic."""
        book, store = self._book, self._store
        entry = await self._disk.run(book.last_entry)
        if entry is not None:
            reading = store.record(entry.physical_offset, entry.record_size)
            record = reading if isinstance(reading, (bytes, memoryview)) or reading is None else await reading
            if record is not None:
                book.queue_offset = max(book.queue_offset, RecordView(record).queue_offset + 1)
        try:
            value = self.metrics.file.load()
            self.metrics.counts = json_dialect.convert((value or {}).get("timingCount") or {}, dict[str, TopicCount])
        except (StoreDamaged, ProtocolError, ValueError, AttributeError) as error:
            log.warning("the counts of timers begin at zero, %s has none: %s", self.metrics.file.path, error)
        return await self._disk.run(store.log_start_by_time, book.read_time_ms - FOREIGN_MARGIN_MS)

    async def _look_for_copies(self, scan_from: int) -> None:
        self._pin = None
        if scan_from >= self._store.max_physical_offset:
            return
        copies = Copies()
        await self._store.scan_records(scan_from, copies.note)
        if len(copies):
            self._copies = copies
            self._pin = max(scan_from, self._store.min_physical_offset)

    # -- copies

    @property
    def may_fire(self) -> bool:
        """Not while the wheel is made again: what has fired is only known of what has been entered."""
        return self.found is not Found.LOST or self._book.queue_offset >= self._enter_until

    def has_fired_before(self, message: TimerMessage) -> bool:
        """While the wheel is made again: this message is not entered."""
        if self._copies is None or self.found is not Found.LOST:
            return False
        copy = self._copies.key_of(message, Counter(), rolls=None)
        if copy is None:
            return False
        self._copies.take((copy,))
        return True

    def copy_of(self, message: TimerMessage, taken: Counter[int], *, rolls: bool | None) -> int | None:
        return self._copies.key_of(message, taken, rolls=rolls) if self._copies is not None else None

    def take(self, taken: Counter[int]) -> None:
        if self._copies is not None:
            self._copies.take(taken.elements())

    def entered(self) -> None:
        """Everything is entered: see whether what happened before the start still matters."""
        if self._copies is None:
            return
        book = self._book
        over = book.queue_offset >= self._enter_until
        if self.found is not Found.LOST:
            over = over and book.read_time_ms >= self._copies_until_ms and book.moving_to <= book.moved_below
        if over:
            self._copies = None
            self._pin = None
            self.dirty = True

    def pin(self) -> None:
        """From here on nothing that is appended may be forgotten as a copy."""
        if self._pin is None and self._book.state is not None:
            self._pin = self._book.state.scan_offset

    def unpin(self) -> None:
        if self._copies is None:
            self._pin = None

    # -- checkpoints

    async def checkpoint_sometimes(self, slot: SlotUnderWay | None) -> None:
        book = self._book
        if not book.has_files or (book.state is not None and not self.dirty and not self._log_is_far()):
            return
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._saved_ms >= self._config.timer_flush_interval_ms:
            await self.checkpoint(slot)

    async def clean_sometimes(self, slot: SlotUnderWay | None) -> None:
        """Deletes files of the timer log whose records are gone."""
        book, now_ms = self._book, self._clock.monotonic_ms()
        if book.has_files and now_ms - self._cleaned_ms >= CLEAN_INTERVAL_MS:
            self._cleaned_ms = now_ms
            if await self._disk.run(book.forget_below, self._store.min_physical_offset):
                await self.checkpoint(slot)
            await self._disk.run(book.remove_files)

    async def checkpoint_before_firing(self) -> None:
        """A slot is about to fire: a crash then must not have to look through too much of the log."""
        if self._book.state is None or (self._pin is None and self._log_is_far()):
            await self.checkpoint(None)

    def _log_is_far(self) -> bool:
        state = self._book.state
        return state is not None and self._store.max_physical_offset - state.scan_offset > SCAN_BYTES_MAX

    async def checkpoint(self, slot: SlotUnderWay | None) -> None:
        """Makes the account certain. Raises: StoreError; then the account on the disk is the one before."""
        book = self._book
        self._saved_ms = self._clock.monotonic_ms()
        await self._disk.run(book.sync_log)
        state = book.account()
        state.counts = self.metrics.copy()
        offsets = [self._store.max_physical_offset]
        if self._pin is not None:
            offsets.append(self._pin)
        if slot is not None:
            offsets.append(slot.scan_offset)
            for topic, change in slot.changes.items():
                state.counts[topic].count -= change
        state.scan_offset = min(offsets)
        if not await self._store.flush():
            raise StoreReadOnly("the log is not on the disk, so nothing can be said of what the timer did with it")
        await self._disk.run(book.save, state)
        self.dirty = False
        if self.metrics.file.pending:
            await self.metrics.file.save()
