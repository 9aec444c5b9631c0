"""Orderly pops of all queues: `consumerOrderInfo.json`, and who may pop next."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from gantry.errors import ProtocolError, StoreDamaged
from gantry.protocol import json_dialect

from ..config_file import ConfigFile
from .ledger import QueueKey
from .order_info import OrderInfo

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock, TimerHandle
    from gantry.runtime.disk import Disk

    from .account import PopAccount

log = logging.getLogger(__name__)

FORGOTTEN_AFTER_MS = 24 * 3600 * 1000


class OrderInfoManager:
    """topic@group -> queue id -> what is out.

    Each change is noted in the ledger's journal first, so that an acknowledgement outlives the process at once; the file
    follows every few seconds, for other brokers. What is out is out for elapsed time: a jump of the wall clock inside the
    process is taken out again (`now`).
    Source: ConsumerOrderInfoManager, ConsumerOrderInfoLockManager (5.3).
    """

    def __init__(
        self, disk: Disk, clock: Clock, account: PopAccount, *, directory: str, checksum_dir: str | None = None
    ) -> None:
        self.table: dict[str, dict[int, OrderInfo]] = {}
        self._clock = clock
        self._account = account
        self._timers: dict[QueueKey, TimerHandle] = {}
        self._jumped: dict[QueueKey, int] = {}
        """By how much the wall clock had left ledger time when the queue was popped."""
        self.on_free: Callable[[str, str, int], None] = lambda topic, group, queue_id: None
        """Told when a queue may be popped again because time is over."""
        self.file = ConfigFile(
            disk, posixpath.join(directory, "consumerOrderInfo.json"), self.to_json_value, checksum_dir=checksum_dir
        )

    def to_json_value(self) -> dict[str, Any]:
        """The table as `consumerOrderInfo.json` has it; what nobody popped for a day is forgotten."""
        oldest = self._clock.now_ms() - FORGOTTEN_AFTER_MS
        for key, queues in list(self.table.items()):
            for queue_id in [queue_id for queue_id, info in queues.items() if info.l < oldest]:
                del queues[queue_id]
            if not queues:
                del self.table[key]
        return {"table": self.table}

    def load(self) -> None:
        """Reads the file, and over it what the ledger knows better; the ledger is loaded. Raises: StoreDamaged."""
        value = self.file.load()
        if value is not None:
            try:
                self.table = json_dialect.convert(value.get("table") or {}, dict[str, dict[int, OrderInfo]])
            except (ProtocolError, ValueError, AttributeError) as error:
                raise StoreDamaged(f"{self.file.path} has no order information: {error}") from None
        for queue in self._account.ledger.all_queues():
            if queue.order_info is not None:
                try:
                    info = msgspec.json.decode(queue.order_info, type=OrderInfo)
                except msgspec.MsgspecError as error:
                    log.error("order information of %s is left out: %s", queue.key, error)
                    continue
                self.table.setdefault(f"{queue.topic}@{queue.group}", {})[queue.queue_id] = info
        # What was loaded counts by the wall clock as it is now.
        jumped = self._account.time.now() - self._account.time.wall()
        for key, queues in self.table.items():
            topic, _, group = key.partition("@")
            for queue_id, info in queues.items():
                self._jumped[topic, group, queue_id] = jumped
                self._watch((topic, group, queue_id), info)

    def shutdown(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def find(self, topic: str, group: str, queue_id: int) -> OrderInfo | None:
        return self.table.get(f"{topic}@{group}", {}).get(queue_id)

    def now(self, key: QueueKey) -> int:
        """The time by which the queue's last pop counts."""
        return self._account.time.now() - self._jumped.get(key, 0)

    def blocks(self, topic: str, group: str, queue_id: int, attempt_id: str | None) -> bool:
        info = self.find(topic, group, queue_id)
        return info is not None and info.blocks(attempt_id, self.now((topic, group, queue_id)))

    def put(self, topic: str, group: str, queue_id: int, info: OrderInfo, committed: int, *, new: bool) -> None:
        """A new pop, or a change of the last one, together with the offset that is committed by it. Raises: StoreError."""
        queue = self._account.queue(topic, group, queue_id)
        self._account.note_order(queue, committed, msgspec.json.encode(info))
        self.table.setdefault(f"{topic}@{group}", {})[queue_id] = info
        self.file.touched()
        key = topic, group, queue_id
        if new:
            jumped = self._account.time.now() - self._account.time.wall()
            if abs(jumped) > 1:
                self._jumped[key] = jumped
            else:
                self._jumped.pop(key, None)
        self._watch(key, info)

    def clear(self, topic: str, group: str, queue_id: int) -> None:
        """Nothing is out any more: the group was set to another offset. Raises: StoreError."""
        info = self.table.get(f"{topic}@{group}", {}).pop(queue_id, None)
        if info is None:
            return
        self._account.note_order(self._account.queue(topic, group, queue_id), -1, b"")
        self.file.touched()
        timer = self._timers.pop((topic, group, queue_id), None)
        if timer is not None:
            timer.cancel()

    def forget(self, wanted: Callable[[str, str], bool]) -> None:
        """Drops every queue whose topic and group are wanted no more."""
        for key in [key for key in self.table if wanted(*key.split("@", 1))]:
            del self.table[key]
            self.file.touched()

    def _watch(self, key: QueueKey, info: OrderInfo) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        now = self.now(key)
        until = info.blocks_until(now)
        if until is not None:
            self._timers[key] = self._clock.call_later(until - now, self._free, key)

    def _free(self, key: QueueKey) -> None:
        self._timers.pop(key, None)
        self.on_free(*key)
