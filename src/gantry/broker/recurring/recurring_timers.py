"""Sends a message each time that a cron expression says.

Theory. Of each recurring timer exactly one message waits in the timer: that of its next time. When the time has come the timer
delivers it, as it does all others, and the message of the time after is stored. So a delivery promises what that of any timer
promises, and a Java broker that opens the store delivers what waits, too. What is left to be done here is to store one
message for each time, over any stop. Its unique id is made of the timer and the time: a start asks the index which of the
last times are in the log, and goes on behind them. Nothing needs to be noted for that but the definitions themselves.

    once        the index has every message of the log before anything is stored
    missed      times over while nobody could store them: one message for all of them, or none (`missed`)
    deleted     the definition says so, durably, before the message that waits is recalled; a start goes on with that
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from gantry.errors import MQError, ProtocolError, StoreDamaged, StoreError
from gantry.model import StoreMessage, message_const, topic_validator
from gantry.protocol import json_dialect
from gantry.protocol.message.properties import find_property
from gantry.protocol.message.record import RecordView
from gantry.store import PutStatus

from ..config_file import ConfigFile
from ..timer.pending_timers import PendingTimers
from ..timer.recall_mark import mark_in_slot
from .cron import Cron, CronIllegal
from .definition import ONCE, Definition

if TYPE_CHECKING:
    from gantry.model import Host
    from gantry.protocol.remoting.body.timers import RecurringTimer
    from gantry.runtime.clock import Clock
    from gantry.runtime.disk import Disk
    from gantry.runtime.rng import Rng
    from gantry.store import MessageStore

    from ..config import BrokerConfig
    from ..timer.timer_message_service import TimerMessageService
    from ..topic.topic_config_manager import TopicConfigManager

log = logging.getLogger(__name__)

COUNT_MAX = 1000
BODY_BYTES_MAX = 64 << 10
"""Bodies are kept in the file of definitions, which is replaced as a whole."""
LOOK_BACK_MS = 3_600_000
"""How long before the last record of the log a start looks for what was stored."""
LOOK_COUNT_MAX = 4096
WAIT_MS_MAX = 1000
IDLE_MS = 60_000
RETRY_MS = 1000
_STORED = (PutStatus.PUT_OK, PutStatus.FLUSH_DISK_TIMEOUT, PutStatus.FLUSH_SLAVE_TIMEOUT, PutStatus.SLAVE_NOT_AVAILABLE)
_UNIQUE_KEY = message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX.encode()
_RECALLS = message_const.TIMER_DEL_UNIQKEY.encode()


class RecurringRefused(MQError):
    """The name is taken, or there are too many, or there is none of that name."""


class _Recurring:
    """A definition at work. `stored_ms` is the time of the last message that was stored; it waits while that is to come."""

    __slots__ = ("cron", "definition", "ended", "settled", "stored_ms")

    def __init__(self, definition: Definition, *, settled: bool) -> None:
        self.definition = definition
        self.cron = Cron(definition.cron, definition.time_zone)
        self.stored_ms = definition.created_ms
        self.settled = settled
        """It is known what of it is in the log."""
        self.ended = False
        """No time is to come any more."""


class RecurringTimerService:
    """The recurring timers of one broker. `host` is the broker's own address, known once it listens."""

    def __init__(
        self,
        config: BrokerConfig,
        disk: Disk,
        clock: Clock,
        rng: Rng,
        store: MessageStore,
        timer: TimerMessageService,
        topics: TopicConfigManager,
        *,
        directory: str,
        checksum_dir: str | None,
        host: Callable[[], Host],
    ) -> None:
        self._config = config
        self._clock = clock
        self._rng = rng
        self._store = store
        self._timer = timer
        self._topics = topics
        self._host = host
        self._table: dict[str, _Recurring] = {}
        self._lock = asyncio.Lock()
        self._wake: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._last_record_ms = 0
        """Of the log as the start found it."""
        self.file = ConfigFile(
            disk, posixpath.join(directory, "recurringTimers.json"), self.to_json_value, checksum_dir=checksum_dir
        )

    def to_json_value(self) -> dict[str, Any]:
        return {"timers": [msgspec.to_builtins(each.definition) for each in self._table.values()]}

    # -- life

    def load(self) -> None:
        """Reads the definitions; the store is loaded, and nothing has been appended since. Raises: StoreDamaged."""
        self._last_record_ms = self._store.last_store_timestamp
        value = self.file.load()
        if value is None:
            return
        try:
            for definition in json_dialect.convert(value.get("timers") or [], list[Definition]):
                self._table[definition.name] = _Recurring(definition, settled=False)
        except (ProtocolError, ValueError, AttributeError) as error:
            raise StoreDamaged(f"{self.file.path} has no recurring timers: {error}") from None

    async def start(self) -> None:
        """Begins; the timer has been started."""
        self._wake = asyncio.Event()
        if self._config.timer_wheel_enable:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def shutdown(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    # -- orders

    def list(self, topic: str | None = None) -> list[RecurringTimer]:
        now_ms = self._clock.now_ms()
        return [
            each.definition.told(each.stored_ms if each.stored_ms > now_ms else each.cron.next_ms(now_ms))
            for each in self._table.values()
            if not each.definition.deleted and topic in (None, each.definition.topic)
        ]

    async def create(self, definition: Definition) -> RecurringTimer:
        """Returns when the definition is on the disk. Raises: RecurringRefused, CronIllegal, StoreError."""
        recurring = _Recurring(definition, settled=True)
        async with self._lock:
            if definition.name in self._table:
                raise RecurringRefused(f"there is a recurring timer {definition.name} already")
            if len(self._table) >= COUNT_MAX:
                raise RecurringRefused(f"there are {COUNT_MAX} recurring timers, and no broker has more")
            next_ms = recurring.cron.next_ms(definition.created_ms)
            if next_ms is None:
                raise CronIllegal(f"{definition.cron!r} does not come in the next 50 years")
            self._table[definition.name] = recurring
            try:
                self.file.touched()
                await self.file.flush()
            except StoreError:
                del self._table[definition.name]
                self.file.touched()
                raise
            try:
                await self._advance(recurring)
            except StoreError as error:
                log.error("recurring timer %s waits on: %s", definition.name, error)
        self._wake_up()
        return definition.told(next_ms)

    async def delete(self, name: str) -> None:
        """Returns when the message that waits is recalled, durably. Raises: RecurringRefused, StoreError."""
        async with self._lock:
            recurring = self._table.get(name)
            if recurring is None or recurring.definition.deleted:
                raise RecurringRefused(f"there is no recurring timer {name}")
            recurring.definition.deleted = True
            try:
                self.file.touched()
                await self.file.flush()
            except StoreError:
                recurring.definition.deleted = False
                self.file.touched()
                raise
            await self._finish_deleting(recurring)

    # -- turns

    def _wake_up(self) -> None:
        if self._wake is not None:
            self._wake.set()

    async def _run(self) -> None:
        assert self._wake is not None
        while True:
            self._wake.clear()
            delay_ms = float(IDLE_MS)
            for name in [*self._table]:
                try:
                    async with self._lock:
                        recurring = self._table.get(name)
                        if recurring is not None:
                            delay_ms = min(delay_ms, await self._turn(recurring))
                except StoreError as error:
                    log.error("recurring timer %s waits on: %s", name, error)
                    delay_ms = min(delay_ms, RETRY_MS)
                except Exception:
                    log.exception("recurring timer %s failed, it is tried again", name)
                    delay_ms = min(delay_ms, RETRY_MS)
            alarm = self._clock.call_later(delay_ms, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                alarm.cancel()

    async def _turn(self, recurring: _Recurring) -> float:
        """Does what is to be done for one, and says when to look again. Units: ms."""
        if not recurring.settled:
            await self._settle(recurring)
        if recurring.definition.deleted:
            await self._finish_deleting(recurring)
            return IDLE_MS
        await self._advance(recurring)
        if recurring.ended:
            return IDLE_MS
        # The wall clock may jump: look at it once a second.
        return min(max(recurring.stored_ms - self._clock.now_ms(), 0), WAIT_MS_MAX)

    async def _advance(self, recurring: _Recurring) -> None:
        """Stores the message of the next time once the one before has come."""
        now_ms = self._clock.now_ms()
        if recurring.stored_ms > now_ms or recurring.ended:
            return
        due_ms = recurring.cron.next_ms(max(recurring.stored_ms, now_ms))
        if due_ms is None:
            recurring.ended = True
            log.info("recurring timer %s has no time to come any more", recurring.definition.name)
            return
        await self._send(recurring, due_ms)

    async def _send(self, recurring: _Recurring, due_ms: int) -> None:
        """Raises: StoreError; nothing was stored then."""
        definition = recurring.definition
        topic = self._topics.select(definition.topic)
        if topic is None or topic.write_queue_nums <= 0:
            log.error("recurring timer %s: topic %s is gone, the time is passed over", definition.name, definition.topic)
            recurring.stored_ms = due_ms
            return
        queue_id = definition.queue_id if definition.queue_id >= 0 else self._rng.randrange(topic.write_queue_nums)
        message = definition.message(
            due_ms,
            queue_id,
            now_ms=self._clock.now_ms(),
            precision_ms=self._timer.book.precision_ms,
            cluster=self._config.broker_cluster_name,
            region=self._config.region_id,
            host=self._host(),
        )
        await self._put(message)
        recurring.stored_ms = due_ms

    async def _put(self, message: StoreMessage) -> None:
        result = await self._store.put(message)
        if result.status not in _STORED:
            raise StoreError(f"the store took no message: {result.status.name} {result.remark}")

    # -- after a start

    async def _settle(self, recurring: _Recurring) -> None:
        """Finds what is in the log, and makes good for what was missed."""
        definition, cron, last_record_ms = recurring.definition, recurring.cron, self._last_record_ms
        begin_ms = max(definition.created_ms, last_record_ms - LOOK_BACK_MS)
        # Nothing can have been stored for a later time than the first one behind the last record.
        end_ms = cron.next_ms(max(last_record_ms, definition.created_ms))
        times: deque[int] = deque(maxlen=LOOK_COUNT_MAX)
        at_ms = cron.next_ms(begin_ms)
        while at_ms is not None and end_ms is not None and at_ms <= end_ms:
            times.append(at_ms)
            at_ms = cron.next_ms(at_ms)
        recurring.stored_ms, delivered = begin_ms, True
        if not self._config.message_index_enable:
            log.warning("messageIndexEnable is false: recurring timer %s may come twice after this start", definition.name)
        else:
            for at_ms in reversed(times):
                if await self._is_stored(definition, at_ms):
                    recurring.stored_ms, delivered = at_ms, at_ms <= last_record_ms
                    break
        now_ms = self._clock.now_ms()
        if not definition.deleted and definition.missed == ONCE and delivered:
            # Otherwise what was stored last waits still, and stands for the times since.
            missed_ms = cron.last_ms(now_ms, recurring.stored_ms)
            if missed_ms is not None:
                log.info("recurring timer %s missed its time, it comes now", definition.name)
                await self._send(recurring, missed_ms)
        recurring.settled = True

    async def _is_stored(self, definition: Definition, due_ms: int) -> bool:
        key = definition.unique_key(due_ms)
        for topic in (topic_validator.TIMER_TOPIC, definition.topic):
            for offset in await self._store.index_offsets(topic, key, LOOK_COUNT_MAX):
                record = await self._store.message_at(offset)
                if record is None:
                    continue
                properties = RecordView(record).properties
                same = find_property(properties, _UNIQUE_KEY) == key.encode()
                if same and find_property(properties, _RECALLS) is None:
                    return True
        return False

    async def _finish_deleting(self, recurring: _Recurring) -> None:
        """Recalls the message that waits, and forgets the definition. Raises: StoreError; the next turn goes on with it."""
        definition, now_ms = recurring.definition, self._clock.now_ms()
        if recurring.stored_ms > now_ms:
            key = definition.unique_key(recurring.stored_ms)
            step = self._timer.book.precision_ms
            slots = {self._timer.book.floor(recurring.stored_ms - 1)}
            if self._config.message_index_enable:
                waiting, _ = await PendingTimers(self._store, self._timer).by_unique_key(definition.topic, key)
                slots = {each.out_ms for each in waiting}
            for out_ms in slots:
                if out_ms + step > now_ms:
                    mark = mark_in_slot(
                        definition.topic,
                        key,
                        out_ms,
                        now_ms=now_ms,
                        with_topic=self._config.append_topic_for_timer_delete_key,
                        born_host=self._host(),
                        store_host=self._host(),
                    )
                    await self._put(mark)
        del self._table[definition.name]
        self.file.touched()
        await self.file.flush()
