"""The door of transactions: what is kept, who ends it, who asks for it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from gantry.errors import RemoteProtocolError, StoreError
from gantry.model import Host
from gantry.protocol.message.record import RecordView
from gantry.store import GetResult, GetStatus, PutResult

from .check_service import CheckService
from .copies import Copies
from .endings import Endings
from .half_message import HALF_TOPIC, PARKED_TOPIC, QUEUE_ID, Half
from .ledger import HalfLedger
from .op_message import OP_TOPIC, decode_op_body
from .op_writer import OpWriter
from .planned import TurnOfTransactions

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.store import MessageStore

    from ..client_manager.producer_manager import ProducerManager
    from ..config import BrokerConfig
    from ..offset.consumer_offset_manager import ConsumerOffsetManager
    from .transaction_metrics import TransactionMetrics

log = logging.getLogger(__name__)

GROUP = "CID_RMQ_SYS_TRANS"
OPS_AT_ONCE = 32
NOT_COMMITTED = -1


class TransactionService:
    """Half messages of one broker.

    Positions are written as consumer offsets of CID_RMQ_SYS_TRANS, never ahead of what is certainly on the disk: or a power
    cut could take the appended copies and leave a position that has passed their originals.
    `on_stored` is told topic, queue, count and bytes of what is committed. Source: TransactionalMessageServiceImpl,
    TransactionalMessageCheckService (5.5).
    """

    def __init__(
        self,
        config: BrokerConfig,
        clock: Clock,
        store: MessageStore,
        offsets: ConsumerOffsetManager,
        producers: ProducerManager,
        metrics: TransactionMetrics,
        *,
        host: Callable[[], Host],
        make_parked_topic: Callable[[], Awaitable[object]],
        on_stored: Callable[[str, int, int, int], None] = lambda topic, queue_id, count, size: None,
    ) -> None:
        self.metrics = metrics
        self.copies = Copies(store)
        self.ledger = HalfLedger()
        self._config = config
        self._clock = clock
        self._store = store
        self._offsets = offsets
        self._ops = OpWriter(config, clock, store, self.ledger, host)
        self.endings = Endings(clock, store, self.ledger, self._ops, self.copies, metrics, on_stored=on_stored)
        self.turn = TurnOfTransactions(self.ledger, self._ops, metrics)
        self.checks = CheckService(
            config,
            clock,
            store,
            self.ledger,
            self._ops,
            self.copies,
            producers,
            metrics,
            make_parked_topic=make_parked_topic,
        )
        self._unsafe: deque[tuple[int, int, int]] = deque()
        """Log end, half position, op position: to be written once the log is on the disk up to there."""
        self._tasks: list[asyncio.Task[None]] = []
        self._saved_ms = 0

    # -- life

    async def start(self) -> None:
        """Takes up where this or another broker stopped, and begins the rounds; the store is loaded. Raises: StoreError."""
        ledger = self.ledger
        self.checks.known_end = self._store.max_physical_offset
        ledger.position = await self._start_position(HALF_TOPIC)
        ledger.op_position = await self._start_position(OP_TOPIC)
        await self._read_ops()
        ledger.advance()
        self.metrics.recounted()
        ledger.uncounted = range(ledger.position, self._store.max_offset(HALF_TOPIC, QUEUE_ID))
        self._store.before_deleting(self.checks.keep)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._check_again_and_again()), loop.create_task(self._save_again_and_again())]

    async def shutdown(self) -> None:
        """Ends the rounds and writes the op queue; save() follows, after the store has flushed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        try:
            self._ops.write()
        except StoreError as error:
            log.error("ended half messages are not told to the op queue: %s", error)
        self._ops.cancel()
        self.note_positions()

    def note_positions(self) -> None:
        """Hands the positions on to the consumer offsets, those that are safe by now."""
        ledger = self.ledger
        ledger.advance()
        end = self._store.max_physical_offset
        if not self._unsafe or self._unsafe[-1][1:] != (ledger.position, ledger.op_position):
            self._unsafe.append((end, ledger.position, ledger.op_position))
        flushed = self._store.flushed_offset
        safe = None
        while self._unsafe and self._unsafe[0][0] <= flushed:
            safe = self._unsafe.popleft()
        if safe is None:
            return
        for topic, position in ((HALF_TOPIC, safe[1]), (OP_TOPIC, safe[2])):
            if max(self._offsets.query(GROUP, topic, QUEUE_ID), 0) != position:
                self._offsets.commit(GROUP, topic, QUEUE_ID, position)

    # -- what processors ask for

    def half_stored(self, topic: str) -> None:
        """A half message for this topic is in the log."""
        self.metrics.add(topic, 1)

    async def find(self, physical_offset: int) -> Half | None:
        """The half message at a physical offset; None when none is there. Raises: StoreError."""
        return await self._find(physical_offset, HALF_TOPIC)

    async def resume(self, physical_offset: int) -> PutResult | None:
        """Has a parked half checked again, from the first time on.

        Returns: None when no parked half is there; a result with records when it is in the half topic now.
        Raises: StoreError.
        """
        parked = await self._find(physical_offset, PARKED_TOPIC)
        if parked is None or await self.copies.committed(parked):
            return None
        result = await self._store.put(parked.resumed())
        if result.ok:
            self.metrics.add(parked.real_topic, 1)
        return result

    # -- inside

    async def _find(self, physical_offset: int, topic: str) -> Half | None:
        record = await self._store.message_at(physical_offset) if physical_offset >= 0 else None
        if record is None:
            return None
        try:
            view = RecordView(record)
        except RemoteProtocolError:
            return None
        if view.topic != topic:
            return None
        # A body may look like a record of that topic; only what its queue says is one.
        place = self._store.physical_offset_at(topic, QUEUE_ID, view.queue_offset)
        if not isinstance(place, int):
            place = await place
        return Half(view) if place == physical_offset else None

    async def _start_position(self, topic: str) -> int:
        first, end = max(await self._store.first_offset(topic, QUEUE_ID), 0), self._store.max_offset(topic, QUEUE_ID)
        offset = self._offsets.query(GROUP, topic, QUEUE_ID)
        corrected = min(max(offset, first), end)
        if offset not in (corrected, NOT_COMMITTED):
            log.error("position in %s corrected from %d to %d, the queue has %d to %d", topic, offset, corrected, first, end)
        return corrected

    async def _read_ops(self) -> None:
        """Everything the op queue says of halves that may be open."""
        offset = self.ledger.op_position
        while True:
            result = self._store.get(OP_TOPIC, QUEUE_ID, offset, OPS_AT_ONCE)
            if not isinstance(result, GetResult):
                result = await result
            if result.status is not GetStatus.FOUND:
                if result.next_begin_offset <= offset or offset >= self._store.max_offset(OP_TOPIC, QUEUE_ID):
                    return
                offset = result.next_begin_offset
                continue
            for view in map(RecordView, result.views):
                self.ledger.take_op(view.queue_offset, decode_op_body(view.body))
            offset = result.next_begin_offset
            await asyncio.sleep(0)

    async def _check_again_and_again(self) -> None:
        try:
            await self.checks.take_stock()
        except StoreError as error:
            log.error("open half messages are not counted: %s", error)
        while True:
            await self._clock.sleep_ms(self._config.transaction_check_interval)
            try:
                asked = await self.checks.round()
            except StoreError as error:
                log.error("half messages are not checked now: %s", error)
            except Exception:
                log.exception("checking half messages failed, it is tried again")
            else:
                if asked:
                    log.info("%d half messages were checked, the first open one is %d", asked, self.ledger.position)
            self.note_positions()

    async def _save_again_and_again(self) -> None:
        while True:
            await self._clock.sleep_ms(self._config.transaction_metric_flush_interval)
            self.note_positions()
            if self.metrics.file.pending:
                await self.metrics.file.save()
