"""Delivers delayed messages when they are due.

Theory. A delayed message lies in the schedule topic, in the queue of its level; its queue entry holds the wall clock time it
is due at. In one queue the due times only grow, so each level needs to look at its first undelivered entry alone.
Delivering appends the message to its real topic and then moves the level's offset; after a crash between the two, or
before the offset was written to its file, it is delivered again: at least once, never none. The offset that goes into
`delayOffset.json` is never ahead of what is certainly on the disk, or a power cut could take the delivered copies and
leave an offset that has passed their originals.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gantry.errors import MessageIllegal, ProtocolError, StoreDamaged, StoreError
from gantry.model import DataVersion, StoreMessage, message_const, topic_validator
from gantry.protocol import json_dialect
from gantry.protocol.message.properties import decode_properties, encode_properties, find_property
from gantry.protocol.message.record import RecordView, store_again
from gantry.store import GetResult, GetStatus
from gantry.store.delay_levels import DelayLevels

from ..config_file import ConfigFile
from .delay_level import level_queue_id

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.runtime.disk import Disk
    from gantry.store import MessageStore

    from ..config import BrokerConfig

log = logging.getLogger(__name__)

TOPIC = topic_validator.SCHEDULE_TOPIC
DELIVER_COUNT_MAX = 128
DELIVER_BYTES_MAX = 4 * 1024 * 1024
WAIT_MS_MAX = 1000
"""The wall clock may jump: look at it at least so often while something waits."""
CLOCK_STEP_MS = 1000
"""A message that seems to be due so much later than its level can mean was stored before the wall clock jumped back."""
RETRY_MS = 1000
_REAL_TOPIC, _REAL_QUEUE_ID = message_const.REAL_TOPIC.encode(), message_const.REAL_QUEUE_ID.encode()
PERSIST_INTERVAL_MS = 10_000


class _Level:
    """One delay level. `due_ms` is when to look at its queue again: wall clock, None while it is empty.

    After the wall clock has jumped back, what a message says of its time is too late: one that was there before by what the
    clock lost (`jumps`), one that came later by what the clock still lacks, because store times never go back; of those
    is kept when they came (`came`). For what an earlier process took the time stood still from the store's last one to the
    start of this one (`behind_ms`): it may come late by what it had waited meanwhile, never early.
    """

    __slots__ = ("behind_ms", "came", "delay_ms", "delivered", "due_ms", "jumps", "number", "offset", "queue_id", "safe_offset")

    def __init__(self, number: int, offset: int, delay_ms: int, behind_ms: int) -> None:
        self.number = number
        self.delay_ms = delay_ms
        self.behind_ms = behind_ms
        self.came: deque[tuple[int, int]] = deque()
        """Queue offset and monotonic ms of messages that came while the wall clock was behind the store."""
        self.jumps: deque[tuple[int, int]] = deque()
        """Queue offset of the end at a jump, and the ms the clock lost."""
        self.queue_id = level_queue_id(number)
        self.offset = offset
        self.safe_offset = offset
        self.due_ms: int | None = 0
        self.delivered: deque[tuple[int, int]] = deque()
        """(offset after a delivery, end of the delivered copy in the log), not yet certainly on disk."""

    def is_possible(self, due_ms: int, now_ms: int) -> bool:
        """Whether a message may be due that late, by this clock."""
        return due_ms <= now_ms + self.delay_ms + CLOCK_STEP_MS

    def corrected(self, offset: int, due_ms: int, now_ms: int, monotonic_ms: int) -> int:
        """When the message at this offset, the first of the level, is due by the clock as it is now."""
        while self.came and self.came[0][0] < offset:
            self.came.popleft()
        while self.jumps and self.jumps[0][0] <= offset:
            self.jumps.popleft()
        if self.came and self.came[0][0] == offset:
            return now_ms + self.came[0][1] + self.delay_ms - monotonic_ms
        due_ms -= sum(lost_ms for _, lost_ms in self.jumps)
        if not self.is_possible(due_ms, now_ms):
            due_ms -= self.behind_ms
        return due_ms if self.is_possible(due_ms, now_ms) else now_ms


class ScheduleMessageService:
    """The delay levels of one broker. Source: ScheduleMessageService (5.3)."""

    def __init__(
        self,
        config: BrokerConfig,
        disk: Disk,
        clock: Clock,
        store: MessageStore,
        *,
        directory: str,
        checksum_dir: str | None = None,
        on_delivered: Callable[[str, int, int, int], None] = lambda topic, queue_id, count, size: None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._store = store
        self._on_delivered = on_delivered
        self.levels = DelayLevels(config.message_delay_level)
        self.max_delay_level = self.levels.level_max
        self.data_version = DataVersion(timestamp=clock.now_ms())
        self._levels: dict[int, _Level] = {}
        self._loaded: dict[int, int] = {}
        self._changes = 0
        self._wake: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._last_save_ms = 0
        self._ahead_ms = 0
        """Of the wall clock, before monotonic time, when it was looked at last."""
        self.file = ConfigFile(
            disk, posixpath.join(directory, "delayOffset.json"), self.to_json_value, checksum_dir=checksum_dir
        )

    @property
    def offset_table(self) -> dict[int, int]:
        """Level to the queue offset of its next delivery."""
        return {number: level.offset for number, level in self._levels.items()} or dict(self._loaded)

    def to_json_value(self) -> dict[str, Any]:
        """The offsets as `delayOffset.json` has them: those that a power cut cannot make wrong."""
        flushed = self._store.flushed_offset
        table = dict(self._loaded)
        for number, level in self._levels.items():
            while level.delivered and level.delivered[0][1] <= flushed:
                level.safe_offset = level.delivered.popleft()[0]
            if level.safe_offset or number in table:
                table[number] = level.safe_offset
        return {"dataVersion": self.data_version, "offsetTable": table}

    def load(self) -> None:
        """Reads the file. Raises: StoreDamaged."""
        value = self.file.load()
        if value is None:
            return
        try:
            self._loaded = json_dialect.convert(value.get("offsetTable") or {}, dict[int, int])
            self.data_version.assign(json_dialect.convert(value.get("dataVersion") or {}, DataVersion))
        except (ProtocolError, ValueError, AttributeError) as error:
            raise StoreDamaged(f"{self.file.path} has no delay offsets: {error}") from None

    async def start(self) -> None:
        """Begins delivering; the store is loaded."""
        behind_ms = max(self._store.last_store_timestamp - self._clock.now_ms(), 0)
        if behind_ms > CLOCK_STEP_MS:
            log.warning("the wall clock is %d ms behind the store; delayed messages may come late, not early", behind_ms)
        for number in range(1, self.max_delay_level + 1):
            self._levels[number] = _Level(number, await self._corrected(number), self.levels.delay_ms(number), behind_ms)
        self._wake = asyncio.Event()
        self._ahead_ms = self._clock.now_ms() - self._clock.monotonic_ms()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def shutdown(self) -> None:
        """Ends delivering. The offsets are written by save(), after the store has flushed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def save(self) -> None:
        """Writes the offsets that are safe."""
        await self.file.save()
        if any(level.delivered for level in self._levels.values()):
            self.file.touched()  # what is not safe yet is still to be written

    def message_arrived(self, queue_id: int) -> None:
        """A message began to wait. Called by the store's dispatch, from inside a commit."""
        level = self._levels.get(queue_id + 1)
        if level is None:
            return
        if self._store.last_store_timestamp > self._clock.now_ms() + CLOCK_STEP_MS:
            level.came.append((self._store.max_offset(TOPIC, queue_id) - 1, self._clock.monotonic_ms()))
        if level.due_ms is None and self._wake is not None:
            level.due_ms = 0
            self._wake.set()

    # -- inside

    async def _corrected(self, number: int) -> int:
        """The loaded offset, inside what the queue has. Source: ScheduleMessageService.correctDelayOffset (5.3)."""
        queue_id = level_queue_id(number)
        first, end = max(await self._store.first_offset(TOPIC, queue_id), 0), self._store.max_offset(TOPIC, queue_id)
        offset = self._loaded.get(number, 0)
        corrected = min(max(offset, first), end)
        if corrected != offset:
            log.error(
                "delay offset of level %d corrected from %d to %d, the queue has %d to %d",
                number,
                offset,
                corrected,
                first,
                end,
            )
        return corrected

    async def _run(self) -> None:
        assert self._wake is not None
        while True:
            self._wake.clear()
            now = self._clock.now_ms()
            self._look_at_the_clock(now)
            for level in self._levels.values():
                if level.due_ms is not None and level.due_ms <= now:
                    try:
                        await self._deliver(level)
                    except Exception as error:
                        level.due_ms = self._clock.now_ms() + RETRY_MS
                        if isinstance(error, StoreError):
                            log.error("delayed messages of level %d wait on: %s", level.number, error)
                        else:
                            log.exception("delivering delayed messages of level %d failed, it is tried again", level.number)
            await self._save_sometimes()
            await self._wait()

    def _look_at_the_clock(self, now_ms: int) -> None:
        ahead_ms = now_ms - self._clock.monotonic_ms()
        lost_ms, self._ahead_ms = self._ahead_ms - ahead_ms, ahead_ms
        if lost_ms > CLOCK_STEP_MS:
            log.warning("the wall clock has jumped back by %d ms; delayed messages keep their times", lost_ms)
            for level in self._levels.values():
                if level.due_ms is not None:
                    level.jumps.append((self._store.max_offset(TOPIC, level.queue_id), lost_ms))
                    level.due_ms = 0

    async def _wait(self) -> None:
        assert self._wake is not None
        waiting = [level.due_ms for level in self._levels.values() if level.due_ms is not None]
        delay = float(PERSIST_INTERVAL_MS)
        if waiting:
            delay = min(max(min(waiting) - self._clock.now_ms(), 0), WAIT_MS_MAX)
        timer = self._clock.call_later(delay, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    async def _save_sometimes(self) -> None:
        now = self._clock.monotonic_ms()
        if now - self._last_save_ms >= PERSIST_INTERVAL_MS and self.file.pending:
            self._last_save_ms = now
            await self.save()

    async def _deliver(self, level: _Level) -> None:
        """Delivers everything due of one level and notes when to look again."""
        while True:
            due_times: list[int] = []

            def note(due_ms: int, times: list[int] = due_times) -> bool:
                times.append(due_ms)
                return True

            result = self._store.get(TOPIC, level.queue_id, level.offset, DELIVER_COUNT_MAX, DELIVER_BYTES_MAX, note)
            if not isinstance(result, GetResult):
                result = await result
            if result.status is not GetStatus.FOUND:
                if result.status in (
                    GetStatus.OFFSET_TOO_SMALL,
                    GetStatus.MESSAGE_WAS_REMOVING,
                    GetStatus.OFFSET_FOUND_NULL,
                ) and (result.next_begin_offset > level.offset):
                    log.error(
                        "level %d: entries %d to %d were deleted before they were due",
                        level.number,
                        level.offset,
                        result.next_begin_offset,
                    )
                    level.offset = result.next_begin_offset
                    continue
                level.due_ms = (
                    None if self._store.max_offset(TOPIC, level.queue_id) <= level.offset else self._clock.now_ms() + RETRY_MS
                )
                return
            now = self._clock.now_ms()
            base, due = level.offset, []
            for record in result.views:
                # Entries whose record is gone are passed over, so the record itself says which entry it is of.
                offset = RecordView(record).queue_offset
                due_ms = due_times[offset - base]
                if due_ms > now:
                    due_ms = level.corrected(offset, due_ms, now, self._clock.monotonic_ms())
                if due_ms > now:
                    level.due_ms = due_ms
                    break
                due.append(record)
            if due:
                self._append(level, due)
            if len(due) < result.count:
                return
            # A long backlog must not keep the loop from serving others.
            await asyncio.sleep(0)

    def _append(self, level: _Level, records: list[bytes | memoryview]) -> None:
        """Puts due messages where they belong and moves the offset behind them. Raises: StoreError, nothing moved then."""
        plan = self._store.new_plan()
        ends: list[tuple[int, int]] = []
        delivered: list[tuple[str, int, int]] = []
        end = 0
        try:
            for record in records:
                message = due_message(record)
                if message is not None:
                    try:
                        planned = plan.add(message)
                    except MessageIllegal as error:
                        log.error("a delayed message for %s cannot be delivered and is dropped: %s", message.topic, error)
                    else:
                        end = planned.end
                        delivered.append((message.topic, message.queue_id, planned.size))
                ends.append((RecordView(record).queue_offset + 1, end))
            self._store.write(plan)
        except BaseException:
            self._store.abort(plan)
            raise
        self._store.commit(plan)
        level.offset = ends[-1][0]
        level.delivered.extend(ends)
        self._count_change(len(ends))
        for topic, queue_id, size in delivered:
            self._on_delivered(topic, queue_id, 1, size)

    def _count_change(self, count: int) -> None:
        step = self._config.delay_offset_update_version_step
        before = self._changes
        self._changes += count
        if self._changes // step != before // step:
            self.data_version.next_version(self._clock.now_ms())
        self.file.touched()


def due_message(record: bytes | memoryview) -> StoreMessage | None:
    """The message as it goes to its real topic; None when it does not say which.

    The delay property stays, as in the original, whose delivered messages show it.
    Source: ScheduleMessageService.messageTimeUp (5.3).
    """
    view = RecordView(record)
    encoded = view.properties
    topic, queue_id = find_property(encoded, _REAL_TOPIC), find_property(encoded, _REAL_QUEUE_ID)
    if topic is None or queue_id is None or not queue_id.isdigit():
        log.error("the delayed message at physical offset %d names no destination and is dropped", view.physical_offset)
        return None
    if not encoded.endswith(b"\x02"):
        encoded = encode_properties(decode_properties(encoded))
    return store_again(
        view, topic=topic.decode("utf-8", "replace"), queue_id=int(queue_id), properties=encoded, wait_store_ok=False
    )
