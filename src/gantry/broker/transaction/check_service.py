"""Rounds of checks: open halves are asked for, appended again, and set aside after the limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from gantry.errors import MessageIllegal, ProtocolError, RemotingError, StoreError
from gantry.model import StoreMessage
from gantry.protocol.message.record import RecordView
from gantry.store import AppendPlan, GetResult, GetStatus, PlannedRecord, PutStatus

from .check import CheckRules, Verdict, judge
from .check_back import check_request
from .half_message import HALF_TOPIC, PARKED_TOPIC, QUEUE_ID, Half

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.store import MessageStore

    from ..client_manager.producer_manager import ProducerManager
    from ..config import BrokerConfig
    from .copies import Copies
    from .ledger import HalfLedger
    from .op_writer import OpWriter
    from .transaction_metrics import TransactionMetrics

log = logging.getLogger(__name__)

HALVES_AT_ONCE = 32
BYTES_AT_ONCE = 4 << 20
ROUND_MS_MAX = 60_000
"""A round ends after so long, wherever it is; the next goes on there."""


class CheckService:
    """Walks the half queue from the first open half to the first that is too young.

    Whatever a round decides of a half is appended before the half counts as over, so a crash in between repeats the decision,
    and the copy that is there already is found by its identity: nothing is asked for twice, let alone dropped.
    """

    def __init__(
        self,
        config: BrokerConfig,
        clock: Clock,
        store: MessageStore,
        ledger: HalfLedger,
        ops: OpWriter,
        copies: Copies,
        producers: ProducerManager,
        metrics: TransactionMetrics,
        *,
        make_parked_topic: Callable[[], Awaitable[object]],
    ) -> None:
        self._config = config
        self._clock = clock
        self._store = store
        self._ledger = ledger
        self._ops = ops
        self._copies = copies
        self._producers = producers
        self._metrics = metrics
        self._make_parked_topic = make_parked_topic
        self._lock = asyncio.Lock()
        self._parked_topic_made = False
        self.known_end = 0
        """Physical offset of the log's end when this process started: of what lies below, an earlier one may know more."""

    async def round(self) -> int:
        """One round; returns how many halves were asked for. Raises: StoreError, and the next round goes on there."""
        async with self._lock:
            return await self._round()

    async def keep(self, physical_offset: int) -> bool:
        """Retention is about to delete the log below: open halves that lie there are appended again first (promise F7).

        Returns: whether that is done, and on the disk; otherwise nothing may be deleted.
        """
        async with self._lock:
            try:
                while True:
                    halves = await self._read(self._ledger.position, self._store.max_offset(HALF_TOPIC, QUEUE_ID))
                    old = [half for half in halves if half.view.physical_offset < physical_offset]
                    if not old:
                        return await self._store.flush()
                    self._append([(half, await self._form(half, None), Verdict.KEEP) for half in old], rescue=True)
                    self._ledger.advance()
                    await asyncio.sleep(0)
            except StoreError as error:
                log.error("open half messages below %d cannot be appended again: %s", physical_offset, error)
                return False

    async def take_stock(self) -> None:
        """Looks once at all that an earlier process left open: what is over after all, and how many of each topic are not.

        Counts that a crash has left may be wrong, so they begin anew. Raises: StoreError; rounds look for themselves then.
        """
        async with self._lock:
            ledger = self._ledger
            while ledger.uncounted:
                halves = await self._read(ledger.uncounted.start, ledger.uncounted.stop)
                for half in halves:
                    offset = half.view.queue_offset
                    over = await self._copies.is_over(half)
                    if not ledger.is_over(offset):
                        if over:
                            self._settle(half)
                        else:
                            self._metrics.add(half.real_topic, 1)
                    ledger.uncounted = range(offset + 1, ledger.uncounted.stop)
                if not halves:
                    ledger.uncounted = range(0)
                await asyncio.sleep(0)
            # Nothing more can be learned of what was there at the start.
            self.known_end = 0

    # -- a round

    async def _round(self) -> int:
        config = self._config
        rules = CheckRules(config.transaction_time_out, config.transaction_check_max)
        end = self._store.max_offset(HALF_TOPIC, QUEUE_ID)
        limit_ms = self._clock.monotonic_ms() + ROUND_MS_MAX
        asked = 0
        self._ledger.advance()
        while self._clock.monotonic_ms() < limit_ms:
            halves = await self._read(self._ledger.position, end)
            if not halves:
                break
            todo: list[tuple[Half, StoreMessage | None, Verdict]] = []
            waits = False
            for half in halves:
                verdict = judge(half, end=end, now_ms=self._clock.now_ms(), rules=rules)
                if verdict is Verdict.WAIT:
                    waits = True
                    break
                todo.append((half, await self._form(half, verdict), verdict))
            plan, placed = self._append(todo)
            self._ledger.advance()
            if await self._is_safe(plan):
                asked += self._ask(placed)
            if waits:
                break
            # A long backlog must not keep the loop from serving others.
            await asyncio.sleep(0)
        return asked

    async def _form(self, half: Half, verdict: Verdict | None) -> StoreMessage | None:
        """What is appended for a half; None when it turns out to be over. Without a verdict: it itself."""
        if half.view.physical_offset < self.known_end and await self._copies.is_over(half):
            return None
        if verdict is None:
            return half.renewed()
        if verdict is Verdict.PARK:
            await self._ensure_parked_topic()
            return half.parked()
        if verdict is Verdict.KEEP:
            first = half.prepared_queue_offset
            return half.renewed(prepared_queue_offset=half.view.queue_offset if first < 0 else first)
        return half.renewed(check_times=half.check_times + 1)

    async def _ensure_parked_topic(self) -> None:
        if not self._parked_topic_made:
            await self._make_parked_topic()
            self._parked_topic_made = True

    def _append(
        self, todo: list[tuple[Half, StoreMessage | None, Verdict]], *, rescue: bool = False
    ) -> tuple[AppendPlan | None, list[tuple[Half, StoreMessage, PlannedRecord]]]:
        """Appends what was decided, in one plan; returns it with those to ask for. Raises: StoreError, nothing changed then."""
        # What the open plan of the turn ends is over.
        self._store.settle()
        todo = [each for each in todo if not self._ledger.is_over(each[0].view.queue_offset)]
        over = [half for half, message, _ in todo if message is None]
        to_append = [(half, message, verdict) for half, message, verdict in todo if message is not None]
        plan, placed = self._append_plan(to_append, rescue)
        for half in over:
            self._settle(half)
            self._close(half)
        to_ask = []
        for half, message, verdict, place in placed:
            if verdict is Verdict.PARK:
                log.error(
                    "half message %s of topic %s was checked %d times without an answer and is set aside in %s at offset %d",
                    half.unique_key, half.real_topic, half.check_times, PARKED_TOPIC, place.queue_offset,
                )  # fmt: skip
                self._settle(half)
                self._close(half)
                self._metrics.parked_count += 1
                continue
            self._ledger.move(half.view.queue_offset, place.queue_offset)
            if half.view.queue_offset in self._ledger.uncounted:
                self._metrics.add(half.real_topic, 1)
            if verdict is Verdict.CHECK:
                to_ask.append((half, message, place))
        return plan, to_ask

    def _append_plan(
        self, todo: list[tuple[Half, StoreMessage, Verdict]], rescue: bool
    ) -> tuple[AppendPlan | None, list[tuple[Half, StoreMessage, Verdict, PlannedRecord]]]:
        placed: list[tuple[Half, StoreMessage, Verdict, PlannedRecord]] = []
        if not todo:
            return None, placed
        plan = self._store.new_rescue_plan() if rescue else self._store.new_plan()
        try:
            for half, message, verdict in todo:
                try:
                    place = plan.add(message)
                except MessageIllegal as error:
                    # Its properties have no room for the count of its checks.
                    log.error("half message %s cannot be marked and is appended as it is: %s", half.unique_key, error)
                    message = half.renewed()
                    place = plan.add(message)
                placed.append((half, message, verdict, place))
            self._store.write(plan)
        except BaseException:
            self._store.abort(plan)
            raise
        self._store.commit(plan)
        return plan, placed

    async def _is_safe(self, plan: AppendPlan | None) -> bool:
        """Whether a producer may be told of the appended copies: a power cut must not take what it has answered for."""
        waiting = None if plan is None else self._store.durable(plan)
        return waiting is None or await waiting is PutStatus.PUT_OK

    def _settle(self, half: Half) -> None:
        self._ledger.end(half.view.queue_offset)
        self._ops.add(half.view.queue_offset)

    def _close(self, half: Half) -> None:
        """It is open no more."""
        if half.view.queue_offset not in self._ledger.uncounted:
            self._metrics.add(half.real_topic, -1)

    def _ask(self, halves: list[tuple[Half, StoreMessage, PlannedRecord]]) -> int:
        """Sends the questions; a half whose group has nobody connected waits for the next round. Returns how many."""
        for half, message, place in halves:
            group = half.producer_group
            channel = None if group is None else self._producers.available_channel(group)
            if channel is None:
                self._metrics.unanswerable_count += 1
                log.warning("Check transaction failed, channel is null. groupId=%s", group)
                continue
            try:
                channel.invoke_oneway(check_request(half, message, place, self._config.broker_name))
            except (RemotingError, ProtocolError) as error:
                log.warning("group %s was not asked for half message %s: %s", group, half.unique_key, error)
            else:
                self._metrics.check_count += 1
        return len(halves)

    # -- reading

    async def _read(self, offset: int, end: int) -> list[Half]:
        """Open halves from `offset` on, below `end`; none when there is none. Holes in the queue are passed over."""
        while True:
            offset = self._ledger.next_open(offset)
            if offset >= end:
                return []
            result = self._store.get(HALF_TOPIC, QUEUE_ID, offset, HALVES_AT_ONCE, BYTES_AT_ONCE)
            if not isinstance(result, GetResult):
                result = await result
            if result.status is not GetStatus.FOUND:
                if result.next_begin_offset <= offset:
                    return []
                log.error("half messages %d to %d are gone from the log", offset, result.next_begin_offset)
                if offset == self._ledger.position:
                    self._ledger.skip_to(result.next_begin_offset)
                offset = result.next_begin_offset
                continue
            views = [RecordView(record) for record in result.views]
            self._pass_over_holes(offset, result.next_begin_offset, views)
            halves = [Half(view) for view in views if view.queue_offset < end and not self._ledger.is_over(view.queue_offset)]
            if halves:
                return halves
            offset = result.next_begin_offset

    def _pass_over_holes(self, offset: int, end: int, views: list[RecordView]) -> None:
        """Entries whose record is gone are over; there is nothing left to ask about."""
        if len(views) == end - offset:
            return
        there = {view.queue_offset for view in views}
        for gone in range(offset, end):
            if gone not in there and not self._ledger.is_over(gone):
                log.error("half message %d is gone from the log", gone)
                self._ledger.end(gone)
