"""Commit and rollback: what an END_TRANSACTION does to a half message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.store import PutStatus

from .half_message import Half

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.store import MessageStore

    from .copies import Copies
    from .ledger import HalfLedger
    from .op_writer import OpWriter
    from .transaction_metrics import TransactionMetrics

log = logging.getLogger(__name__)

NOT_FOUND = "Find prepared transaction message failed"
SERVICE_NOT_AVAILABLE = "Service not available now."


class Endings:
    """Ends halves, each once: the first end that is stored holds.

    A commit is one append; with it the half is over in this process, and the op queue is told with the next batch. What a
    crash takes of that is found again by `Copies`. A rollback is only in the op queue, so it is there before its sender is
    answered.
    """

    def __init__(
        self,
        clock: Clock,
        store: MessageStore,
        ledger: HalfLedger,
        ops: OpWriter,
        copies: Copies,
        metrics: TransactionMetrics,
        *,
        on_stored: Callable[[str, int, int, int], None],
    ) -> None:
        self._clock = clock
        self._store = store
        self._ledger = ledger
        self._ops = ops
        self._copies = copies
        self._metrics = metrics
        self._on_stored = on_stored
        self._late = asyncio.Lock()

    async def commit(self, half: Half) -> PutStatus:
        """Makes the message visible. Returns: how safe it is. Raises: BrokerError with the official refusal, StoreError."""
        topic, queue_id = half.real_topic, half.real_queue_id
        if not topic or queue_id is None:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, "the half message names no topic and queue to commit it to")
        target = self._open_target(half)
        if target is None:
            async with self._late:
                return await self._commit_late(half, topic, queue_id)
        return await self._commit_now(half, topic, queue_id, target)

    async def rollback(self, half: Half) -> PutStatus:
        """The message is never visible. Raises: BrokerError, StoreError."""
        target = self._open_target(half)
        if target is None:
            target = await self._late_target(half)
            if target is None or self._ledger.is_over(target):
                if await self._copies.committed(half):
                    raise BrokerError(ResponseCode.ILLEGAL_OPERATION, "the transaction is committed")
                return PutStatus.PUT_OK
        self._over(half, target)
        self._metrics.rolled_back(half.real_topic)
        plan = await self._ops.write_soon()
        if plan is None:
            # It was told meanwhile, with a full batch or in the plan of a turn.
            safe = not self._store.config.is_sync_flush or await self._store.flush()
            return PutStatus.PUT_OK if safe else PutStatus.FLUSH_DISK_TIMEOUT
        waiting = self._store.durable(plan)
        return PutStatus.PUT_OK if waiting is None else await waiting

    # -- inside

    def _open_target(self, half: Half) -> int | None:
        """The place in the queue at which this half is open; None when this process does not know one."""
        # What the open plan of the turn ends is over.
        self._store.settle()
        target = self._ledger.newest(half.view.queue_offset)
        return None if self._ledger.is_over(target) else target

    def _over(self, half: Half, target: int) -> None:
        self._ledger.end(target)
        if target not in self._ledger.uncounted:
            self._metrics.add(half.real_topic, -1)
        if target != half.view.queue_offset:
            # A Java broker that reads the op queue knows copies by the place they were at first, too.
            self._ops.add(half.view.queue_offset)
        self._ops.add(target)

    async def _commit_now(self, half: Half, topic: str, queue_id: int, target: int | None) -> PutStatus:
        message = half.committed(topic, queue_id)
        plan = self._store.new_plan()
        try:
            planned = plan.add(message)
            self._store.write(plan)
        except BaseException:
            self._store.abort(plan)
            raise
        self._store.commit(plan)
        if target is not None:
            self._over(half, target)
            self._metrics.committed(topic, (self._clock.now_ms() - half.view.born_timestamp) // 1000)
        self._on_stored(topic, queue_id, 1, planned.size)
        waiting = self._store.durable(plan)
        return PutStatus.PUT_OK if waiting is None else await waiting

    async def _commit_late(self, half: Half, topic: str, queue_id: int) -> PutStatus:
        """The half is over where its sender knows it: it goes on elsewhere, was parked, or ended before."""
        if await self._copies.committed(half):
            return PutStatus.PUT_OK
        target = await self._late_target(half)
        if target is not None and not self._ledger.is_over(target):
            return await self._commit_now(half, topic, queue_id, target)
        if self._copies.known and not await self._copies.parked(half):
            log.warning(
                "commit of half message %s at %d is refused: it was rolled back before",
                half.unique_key,
                half.view.queue_offset,
            )
            raise BrokerError(ResponseCode.ILLEGAL_OPERATION, "the transaction is rolled back")
        # A message that was set aside for want of an answer has one now.
        return await self._commit_now(half, topic, queue_id, None)

    async def _late_target(self, half: Half) -> int | None:
        """Where the half went on, by the index; None when it did not, or is over there as well."""
        newest = self._ledger.newest(await self._copies.newest_offset(half))
        self._store.settle()
        return None if self._ledger.is_over(newest) else newest
