"""Delivers messages at arbitrary times.

Theory. A message that waits is a record of the timer's topic. One task does everything, in turns: it enters what is new into
the wheel (`TimerBook`), then fires the slots that are over: each message goes to its topic, or, where it is due later than the
wheel reaches, into the timer again. What holds:

    never early     a slot fires when it is over, by the wall clock as it is then; its time is the one asked for, rounded down
    recalled        before a slot fires everything that was stored before it was over has been entered, marks that recall, too
    never lost      progress is noted behind what certainly lies on the disk, and only slot by slot
    one copy        what fired behind the noted progress is told by its copies in the log (`Copies`)

After the wall clock has jumped back, slots that fired already lie ahead again: they are forgotten, durably, before the first
message may enter them.
"""

from __future__ import annotations

import asyncio
import logging
from array import array
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from gantry._core import java_string_hash
from gantry.errors import MessageIllegal, RecordCorrupt, StoreError
from gantry.model import topic_validator
from gantry.protocol.disk.timer_log_unit import TimerLogUnit
from gantry.protocol.disk.timer_wheel_slot import WHEEL_SLOTS
from gantry.protocol.message.record import RecordView
from gantry.store import GetResult, GetStatus
from gantry.store.timer import TimerBook

from .due_message import TimerMessage, delivered, put_back, timer_message
from .firing import Batch, SlotFiring
from .rates import Rates
from .timer_account import TimerAccount

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.runtime.disk import Disk
    from gantry.store import MessageStore

    from ..config import BrokerConfig

log = logging.getLogger(__name__)

_hash_of = lru_cache(maxsize=1024)(java_string_hash)
P = ParamSpec("P")
T = TypeVar("T")

TOPIC = topic_validator.TIMER_TOPIC
QUEUE_ID = 0
ENTER_COUNT_MAX = 512
ENTER_BYTES_MAX = 4 << 20
FIRE_COUNT_MAX = 128
FIRE_BYTES_MAX = 4 << 20
LOOK_COUNT_MAX = 20_000
PENDING_UNITS_MAX = 4096
WAIT_MS_MAX = 1000
RETRY_MS = 1000
IDLE_MS = 60_000


class TimerMessageService:
    """The timer of one broker. Source: TimerMessageStore (5.5).

    start() repairs what a crash left; then message_arrived() wakes it. Nothing is done while timerWheelEnable is off.
    `wheel_slots` is for tests; the official wheel has one size.
    """

    def __init__(
        self,
        config: BrokerConfig,
        disk: Disk,
        clock: Clock,
        store: MessageStore,
        *,
        root: str,
        directory: str,
        checksum_dir: str | None = None,
        on_delivered: Callable[[str, int, int, int], None] = lambda topic, queue_id, count, size: None,
        on_entered: Callable[[str, int], None] = lambda topic, delay_ms: None,
        wheel_slots: int = WHEEL_SLOTS,
    ) -> None:
        self.book = TimerBook(
            disk,
            root,
            precision_ms=config.timer_precision_ms,
            roll_window_slots=config.timer_roll_window_slot,
            log_file_size=config.mapped_file_size_timer_log,
            slot_count=wheel_slots,
        )
        self.account = TimerAccount(self.book, config, disk, clock, store, directory=directory, checksum_dir=checksum_dir)
        self.entered_count = self.fired_count = self.damaged_count = 0
        self._config = config
        self._disk = disk
        self._clock = clock
        self._store = store
        self._on_delivered = on_delivered
        self._on_entered = on_entered
        self._wake: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self.changes = asyncio.Lock()
        """Held by whoever looks for messages that wait, to change what becomes of them."""
        self._stopping = False
        self._slot: SlotFiring | None = None
        self._rates = Rates()
        self._moved_position = 0
        """While records are being appended again: where in the timer log that is."""
        store.before_deleting(self.append_again_below)

    # -- life

    async def start(self) -> None:
        """Repairs, and begins to deliver; the store is loaded. Raises: DiskError."""
        self._wake = asyncio.Event()
        if not self._config.timer_wheel_enable:
            return
        await self.account.load()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def shutdown(self) -> None:
        """Ends delivering, after the batch under way. The account is written by save(), while the store still runs."""
        self._stopping = True
        if self._task is not None and self._wake is not None:
            self._wake.set()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def save(self) -> None:
        """Writes the account and gives up the files."""
        try:
            if self.account.loaded and self.book.has_files:
                await self.account.checkpoint(self._slot)
        except StoreError as error:
            log.error("the timer's account is not up to date, the next start repairs it: %s", error)
        self.book.close()

    def message_arrived(self) -> None:
        """A record came into the timer's topic. Called by the store's dispatch, from inside a commit."""
        if self._wake is not None:
            self._wake.set()

    # -- for others

    @property
    def enter_behind_count(self) -> int:
        """Records of the timer's topic that are not in the wheel yet."""
        return max(self._store.max_offset(TOPIC, QUEUE_ID) - self.book.queue_offset, 0)

    async def enter_behind_ms(self) -> int:
        """Age of the first of them; 0 for none."""
        if not self.enter_behind_count:
            return 0
        stored_ms = await self._store.store_time_at(TOPIC, QUEUE_ID, self.book.queue_offset)
        return max(self._clock.now_ms() - stored_ms, 0) if stored_ms > 0 else 0

    @property
    def fire_behind_ms(self) -> int:
        """How far the slots that fired are behind the clock."""
        return max(self._clock.now_ms() - self.book.read_time_ms, 0) if self.book.has_files else 0

    def rates(self) -> tuple[float, float]:
        """Messages entered and fired a second, over the last ten seconds."""
        return self._rates.read(self._clock.monotonic_ms(), self.entered_count, self.fired_count)

    def is_to_come(self, out_ms: int) -> bool:
        """The slot of this time has not begun to fire. Units: wall clock ms, in whole slots."""
        slot = self._slot
        return out_ms >= self.book.read_time_ms and (slot is None or slot.time_ms != out_ms)

    async def with_book(self, ask: Callable[Concatenate[TimerBook, P], T], *args: P.args, **values: P.kwargs) -> T:
        """Asks the book something, off the loop, while nobody else uses it."""
        async with self._lock:
            return await self._disk.run(partial(ask, self.book, *args, **values))

    # -- turns

    async def _run(self) -> None:
        assert self._wake is not None
        while not self._stopping:
            self._wake.clear()
            delay_ms: float = RETRY_MS
            try:
                async with self._lock:
                    await self._turn()
                delay_ms = self._delay_ms()
            except StoreError as error:
                log.error("the timer waits on: %s", error)
            except Exception:
                log.exception("the timer failed, it is tried again")
            if delay_ms <= 0:
                await asyncio.sleep(0)
                continue
            timer = self._clock.call_later(delay_ms, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()

    async def _turn(self) -> None:
        book = self.book
        self._rates.sample(self._clock.monotonic_ms(), self.entered_count, self.fired_count)
        if not book.has_files:
            book.read_time_ms = book.floor(self._clock.now_ms())
        if self._slot is not None and self.account.may_fire:
            # It was over when it began, whatever the clock says since, and is done before anything else.
            await self._fire_slot(self._slot.time_ms)
        await self._follow_clock()
        if book.moving_to > book.moved_below:
            await self._append_again()
        await self._fire_due()
        await self.account.checkpoint_sometimes(self._slot)
        await self.account.clean_sometimes(self._slot)

    def _delay_ms(self) -> float:
        if not self.book.has_files:
            return IDLE_MS
        now = self._clock.now_ms()
        floor = self.book.floor(now)
        if self.book.read_time_ms < floor and not self._config.timer_stop_dequeue and self.account.may_fire:
            return 0  # a slot was over while the turn ended
        return min(floor + self.book.precision_ms - now, WAIT_MS_MAX)

    async def _follow_clock(self) -> int:
        """The slot that is now. When the wall clock has jumped back, slots that fired lie ahead again, and are forgotten."""
        book = self.book
        floor = book.floor(self._clock.now_ms())
        if floor >= book.read_time_ms:
            return floor
        log.warning("the wall clock has jumped back by %d ms or more; timers follow it", book.read_time_ms - floor)
        book.wheel.clear(floor, book.read_time_ms)
        # The slots must be empty on the disk before the account says that they are still to come.
        await self.account.checkpoint(self._slot)
        book.read_time_ms = floor
        await self.account.checkpoint(self._slot)
        return await self._follow_clock()

    # -- entering

    async def _enter_new(self) -> None:
        """Everything that readers of the timer's topic may see by now is in the wheel; what comes meanwhile waits its turn."""
        book, store = self.book, self._store
        end = store.max_offset(TOPIC, QUEUE_ID)
        while not self._config.timer_stop_enqueue and book.queue_offset < end and not self._stopping:
            reading = store.get(TOPIC, QUEUE_ID, book.queue_offset, ENTER_COUNT_MAX, ENTER_BYTES_MAX)
            result = reading if isinstance(reading, GetResult) else await reading
            if result.status is not GetStatus.FOUND and result.next_begin_offset <= book.queue_offset:
                raise StoreError(f"the timer's topic cannot be read at {book.queue_offset}: {result.status.name}")
            if result.status is not GetStatus.FOUND:
                log.error("entries %d to %d of the timer's topic are gone", book.queue_offset, result.next_begin_offset)
            floor = await self._follow_clock()
            for record in result.views:
                self._enter(record, floor)
            book.queue_offset = result.next_begin_offset
            self.account.dirty = True
            if book.log.pending_count >= PENDING_UNITS_MAX:
                await self._disk.run(book.log.write)
            await asyncio.sleep(0)
        self.account.entered()

    def _enter(self, record: bytes | memoryview, floor_ms: int) -> None:
        message = timer_message(record)
        if message is None:
            log.error("the record at %d of the timer's topic names no destination or time", RecordView(record).physical_offset)
            return
        if self.account.has_fired_before(message):
            return
        view = message.view
        recalls = message.recalls is not None
        topic_hash = _hash_of(message.topic)
        self.book.place(message.out_ms, floor_ms, view.physical_offset, view.size, topic_hash, recalls=recalls)
        self.account.metrics.add(message.topic, -1 if recalls else 1, self._clock.now_ms())
        self.entered_count += 1
        self._on_entered(message.topic, message.out_ms - view.born_timestamp)

    # -- firing

    async def _fire_due(self) -> None:
        """Enters what is new and fires the slots that are over."""
        book = self.book
        while not self._stopping:
            # First the time, then the entering: whoever recalled before that time is seen.
            floor = book.floor(self._clock.now_ms())
            await self._enter_new()
            if not book.has_files:
                return
            if self._config.timer_stop_dequeue or not self.account.may_fire:
                return
            # Meanwhile the clock may have jumped back.
            floor = min(floor, await self._follow_clock())
            time_ms = book.next_slot(floor, LOOK_COUNT_MAX)
            if time_ms is not None:
                await self._fire_slot(time_ms)
                await self._let_others_ask()
            elif book.read_time_ms >= floor:
                return
            await asyncio.sleep(0)

    async def _let_others_ask(self) -> None:
        """Between two slots of a backlog whoever waits to ask something may."""
        if self._lock.locked() and self.book.moving_to <= self.book.moved_below:
            self._lock.release()
            await self._lock.acquire()

    async def _fire_slot(self, time_ms: int) -> None:
        book, store = self.book, self._store
        slot = self._slot
        if slot is None or slot.time_ms != time_ms:
            await self.account.checkpoint_before_firing()
            slot = self._slot = SlotFiring(time_ms, store.max_physical_offset)
        while True:
            collected = await self._disk.run(book.collect, time_ms, slot.last_position)
            slot.last_position = collected.last_position
            slot.positions = slot.positions[slot.index :] + collected.positions
            slot.index = 0
            for begin in range(0, len(collected.marks), FIRE_COUNT_MAX):
                await self._note_marks(slot, collected.marks[begin : begin + FIRE_COUNT_MAX])
            while slot.index < len(slot.positions):
                await self._fire_batch(slot)
                if self._stopping:
                    return
            last = book.wheel.get(time_ms)
            if last is None or last.last_position <= slot.last_position:
                break
        if slot.put_back:
            # What was put back must be in the wheel before later slots fire, marks above all; readers see it once it is safe.
            await store.flush()
        self._slot = None
        book.read_time_ms = time_ms + book.precision_ms
        self.account.dirty = True

    async def _note_marks(self, slot: SlotFiring, positions: array[int]) -> None:
        for position, unit in await self._disk.run(self.book.entries, positions):
            message = await self.message_of(position, unit)
            key = message.recalls if message is not None else None
            if message is not None and key is not None:
                slot.recalled.add((message.topic, key))
                slot.changes[message.topic] += 1
                self.account.metrics.add(message.topic, 1, self._clock.now_ms())

    async def _fire_batch(self, slot: SlotFiring) -> None:
        """Fires the next messages of the slot, all or none. Raises: StoreError, nothing done then."""
        entries = await self._disk.run(self.book.entries, slot.positions[slot.index : slot.index + FIRE_COUNT_MAX])
        firing = Batch()
        size = done = 0
        for position, unit in entries:
            if done and size + unit.record_size > FIRE_BYTES_MAX:
                break
            message = await self.message_of(position, unit)
            if message is not None:
                self._decide(slot, unit, message, firing)
                size += unit.record_size
            done += 1
        self._append(firing)
        for topic, change in firing.changes:
            slot.changes[topic] += change
        slot.fired_position = slot.positions[slot.index + done - 1]
        slot.index += done
        await asyncio.sleep(0)

    def _decide(self, slot: SlotFiring, unit: TimerLogUnit, message: TimerMessage, firing: Batch) -> None:
        now_ms = self._clock.now_ms()
        firing.changes.append((message.topic, 1 if unit.recalls else -1))
        copy = self.account.copy_of(message, firing.taken, rolls=unit.rolls)
        if copy is not None:
            firing.taken[copy] += 1
        elif unit.rolls:
            slot.put_back = True
            firing.messages.append(put_back(message, enqueued_ms=unit.write_time_ms, now_ms=now_ms))
        elif (message.topic, message.unique_key) not in slot.recalled and not message.is_expired(now_ms):
            firing.messages.append(delivered(message, enqueued_ms=unit.write_time_ms, now_ms=now_ms))

    def _append(self, firing: Batch, *, rescue: bool = False) -> None:
        """Puts messages where they belong. Raises: StoreError, and nothing happened."""
        if firing.messages:
            plan = self._store.new_rescue_plan() if rescue else self._store.new_plan()
            placed: list[tuple[str, int, int]] = []
            try:
                for message in firing.messages:
                    try:
                        planned = plan.add(message)
                    except MessageIllegal as error:
                        log.error("a timer message for %s cannot be delivered and is dropped: %s", message.topic, error)
                    else:
                        placed.append((message.topic, message.queue_id, planned.size))
                self._store.write(plan)
            except BaseException:
                self._store.abort(plan)
                raise
            self._store.commit(plan)
            self.fired_count += len(placed)
            for topic, queue_id, size in placed:
                self._on_delivered(topic, queue_id, 1, size)
        self.account.take(firing.taken)
        now_ms = self._clock.now_ms()
        for topic, change in firing.changes:
            self.account.metrics.add(topic, change, now_ms)
        self.account.dirty = True

    async def message_of(self, position: int, unit: TimerLogUnit) -> TimerMessage | None:
        """The message of an entry; None when it lives on in a later record, or is damaged: then others go on."""
        if unit.physical_offset < self.book.moved_below or self._is_moved(position, unit):
            return None
        try:
            reading = self._store.record(unit.physical_offset, unit.record_size)
            record = await reading if isinstance(reading, Awaitable) else reading
        except RecordCorrupt as error:
            self.damaged_count += 1
            log.error("a timer message is damaged and cannot be delivered: %s", error)
            return None
        message = timer_message(record) if record is not None else None
        if message is None:
            self.damaged_count += 1
            log.error("the log has no timer message at %d, where the timer log has one", unit.physical_offset)
        return message

    # -- what retention is about to delete

    def _is_moved(self, position: int, unit: TimerLogUnit) -> bool:
        return position < self._moved_position and unit.physical_offset < self.book.moving_to

    def _has_fired(self, position: int, unit: TimerLogUnit) -> bool:
        """It is of the slot under way, and done. Marks are needed until the slot is over."""
        slot = self._slot
        return slot is not None and unit.slot_time_ms == slot.time_ms and not unit.recalls and position <= slot.fired_position

    async def append_again_below(self, offset: int) -> bool:
        """What waits in the log below this offset is appended again, and certainly on the disk; False when that failed.

        Source: our decision (reliability promise F7); the original loses timers whose log goes before they roll.
        """
        nothing = not self.book.has_files and not self.enter_behind_count
        if self._task is None or nothing or offset <= self.book.moved_below:
            return True
        async with self._lock:
            try:
                await self._enter_new()
                following = self._store.physical_offset_at(TOPIC, QUEUE_ID, self.book.queue_offset)
                following = following if isinstance(following, int) else await following
                if 0 <= following < offset:
                    log.error("timerStopEnqueue is on: messages not in the wheel yet keep their part of the log")
                    return False
                self.book.moving_to = offset
                await self._append_again()
            except StoreError as error:
                log.error("timers of the oldest part of the log could not be appended again: %s", error)
                return False
        return not self._stopping

    async def _append_again(self) -> None:
        """Puts the timers below `moving_to` back into the timer; a crash meanwhile goes on with it. Slots fire in between."""
        book = self.book
        await self.account.checkpoint(self._slot)
        self.account.pin()
        self._moved_position = 0
        position: int | None = 0
        moved = 0
        while position is not None and not self._stopping:
            await self._disk.run(book.log.write)
            units, following = await self._disk.run(book.pending_below, book.moving_to, position, FIRE_COUNT_MAX)
            firing = Batch()
            for at, unit in units:
                message = await self.message_of(at, unit) if not self._has_fired(at, unit) else None
                if message is None:
                    continue
                firing.changes.append((message.topic, 1 if unit.recalls else -1))
                copy = self.account.copy_of(message, firing.taken, rolls=None)
                if copy is not None:
                    firing.taken[copy] += 1
                else:
                    firing.messages.append(put_back(message, enqueued_ms=unit.write_time_ms, now_ms=self._clock.now_ms()))
            self._append(firing, rescue=True)
            moved += len(firing.messages)
            position = following
            self._moved_position = following if following is not None else book.log.end
            if self._slot is None:
                await self._fire_due()
        if self._stopping:
            return
        await self._enter_new()
        book.moved_below = book.moving_to
        self.account.unpin()
        await self.account.checkpoint(self._slot)
        self._moved_position = 0
        if moved:
            log.info("%d timers below %d of the log were appended again before it is deleted", moved, book.moved_below)
