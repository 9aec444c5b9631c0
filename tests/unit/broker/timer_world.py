"""A store and its timer on the simulated disk, and the history of what was sent, recalled and delivered."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from gantry.broker import BrokerConfig
from gantry.broker.timer import TimerMessageService
from gantry.broker.timer.deliver_time import to_timer_topic
from gantry.model import StoreMessage, topic_validator
from gantry.protocol.message.properties import decode_properties, encode_properties
from gantry.runtime.clock import Clock
from gantry.runtime.disk import Disk
from gantry.store import MessageStore, PutStatus
from gantry.store.config import StoreConfig
from gantry.testing import MemoryDisk, SeededRng, VirtualClock, settle
from gantry.testing.memory_faults import PowerCut
from tests.unit.store.store_world import ROOT, read_queue

TOPIC = "T"
QUEUES = 2
PRECISION_MS = 1000
WHEEL_SLOTS = 400
TINY_FILES: dict[str, Any] = {
    "mapped_file_size_commit_log": 8192,
    "mapped_file_size_consume_queue": 20 * 16,
    "max_hash_slot_num": 7,
    "max_index_num": 20,
    "prefault_window_bytes": 0,
    "hot_tail_bytes_max": 2048,
    "delete_commit_log_files_interval": 0,
    "file_reserved_time": 1,
    "delete_when": ";".join(str(hour) for hour in range(24)),
    "clean_resource_interval": 1 << 40,
}


@dataclass
class Timed:
    """One message: when it is due at the earliest, whether its send was acknowledged, and what became of its recall."""

    due_ms: int
    acknowledged: bool = False
    recall: str = ""
    """"", "asked" (no answer came) or "accepted" (before it was due)."""


@dataclass
class Timers:
    """The model: a table of messages."""

    sent: dict[str, Timed] = field(default_factory=dict)

    def check(self, delivered: list[dict[str, str]], *, may_lose: bool = False, all_due: bool = True) -> None:
        copies = Counter(each["UNIQ_KEY"] for each in delivered)
        for each in delivered:
            timed = self.sent.get(each["UNIQ_KEY"])
            assert timed is not None, f"{each['UNIQ_KEY']} was never sent"
            fired_ms = int(each["TIMER_DEQUEUE_MS"])
            assert fired_ms >= timed.due_ms, f"{each['UNIQ_KEY']} came {timed.due_ms - fired_ms} ms early"
        for key, timed in self.sent.items():
            assert copies[key] <= 1, f"{key} came {copies[key]} times"
            if may_lose:
                continue
            if timed.recall == "accepted" and timed.acknowledged:
                assert copies[key] == 0, f"{key} was recalled and came"
            elif timed.acknowledged and not timed.recall and all_due:
                assert copies[key] == 1, f"{key} was acknowledged, is due since {timed.due_ms} and never came"


class TimerWorld:
    """Start it, do things, stop it or drop it; a second one on the same disk is a restart."""

    def __init__(self, disk: Disk, clock: Clock, timers: Timers, *, flush: str = "SYNC_FLUSH", **settings: Any) -> None:
        config = BrokerConfig(
            store_path_root_dir=ROOT,
            timer_roll_window_slot=settings.pop("roll_window", 20),
            mapped_file_size_timer_log=settings.pop("timer_log", 1040),
            timer_flush_interval_ms=settings.pop("flush_ms", 1000),
        )
        self.clock = clock
        self.timers = timers
        self.config = config
        self.store = MessageStore(
            StoreConfig(ROOT, flush_disk_type=flush, **{**TINY_FILES, **settings}),  # type: ignore[arg-type]
            disk=disk,
            clock=clock,
            rng=SeededRng(1),
            on_arrive=lambda *_: self.timer.message_arrived(),
        )
        self.timer = TimerMessageService(
            config, disk, clock, self.store, root=ROOT, directory=f"{ROOT}/config", wheel_slots=WHEEL_SLOTS
        )
        self.store.watch(topic_validator.TIMER_TOPIC, 0, True)

    async def start(self) -> TimerWorld:
        await self.store.load()
        await self.store.start()
        await self.timer.start()
        return self

    async def stop(self) -> None:
        await self.timer.shutdown()
        await self.timer.save()
        await self.store.shutdown()

    async def send(self, key: str, delay_ms: int, body: bytes = b"x") -> None:
        now_ms = self.clock.now_ms()
        timed = self.timers.sent[key] = Timed(now_ms + delay_ms)
        await self._put(key, {"UNIQ_KEY": key, "TIMER_DELAY_MS": str(delay_ms)}, body)
        timed.acknowledged = True

    async def recall(self, key: str) -> None:
        """As the processor does, for messages that are not due yet."""
        timed = self.timers.sent[key]
        out_ms = (timed.due_ms - 1) // PRECISION_MS * PRECISION_MS
        now_ms = self.clock.now_ms()
        if out_ms + 1 <= now_ms or any(each["UNIQ_KEY"] == key for each in await self.delivered()):
            return  # refused; or it came already, and the clock went back
        timed.recall = timed.recall or "asked"
        marks = {"UNIQ_KEY": key, "TIMER_DEL_UNIQKEY": key, "TIMER_DELIVER_MS": str(out_ms + 1)}
        await self._put(key, marks, b"0")
        # The model knows the time at which the mark was certainly stored; only before the due time it must count.
        timed.recall = "accepted" if self.clock.now_ms() < timed.due_ms else "asked"

    async def _put(self, key: str, properties: dict[str, str], body: bytes) -> None:
        queue_id = len(key) % QUEUES
        waiting = to_timer_topic(
            properties, TOPIC, queue_id, now_ms=self.clock.now_ms(), precision_ms=PRECISION_MS, delay_max_ms=1 << 40
        )
        topic, queue_id = (waiting.topic, waiting.queue_id) if waiting is not None else (TOPIC, queue_id)
        result = await self.store.put(
            StoreMessage(
                topic,
                queue_id,
                body,
                encode_properties(properties),
                born_timestamp=self.clock.now_ms(),
                born_host=("10.0.0.1", 5),
                store_host=("127.0.0.1", 10911),
            )
        )
        assert result.status is PutStatus.PUT_OK, result

    async def delivered(self) -> list[dict[str, str]]:
        """Properties of everything that came, as far as the log still has it."""
        return [
            decode_properties(view.properties)
            for queue_id in range(QUEUES)
            for view in await read_queue(self.store, TOPIC, queue_id)
        ]


async def attempt(clock: VirtualClock, disk: MemoryDisk, work: Any) -> None:
    """Does it, unless the power goes."""
    task = asyncio.ensure_future(work)
    with contextlib.suppress(PowerCut):
        while True:
            await settle(until=task)
            if task.done() or disk.is_off:
                break
            due_ms = clock.next_due_ms()
            assert due_ms is not None, "it waits for something that no timer will bring about"
            clock.advance_ms(due_ms)
        if task.done():
            task.result()


async def end_all() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
