"""The sends of one turn of the event loop: one plan, one write, one commit, one answer a connection."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from gantry.errors import DiskFull, StoreError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.store import PutStatus

from ..processor import put_answer

if TYPE_CHECKING:
    from gantry.runtime.channel import Channel
    from gantry.store import AppendPlan

    from ..context import BrokerContext
    from ._hot_py import HotEngine
    from ._plan_py import HotPlan
    from .busy_poll import BusyPoll

log = logging.getLogger(__name__)

TURN_BYTES_MAX = 1 << 20
"""A plan of this length does not wait for the turn's end."""

ALONE_MIN = 16
"""After so many turns with the sends of one read only, the next one does not wait for others either."""

COMPANY_NS = 30_000
"""Another connection's sends so soon after the last ones came in the same turn."""

_OK = PutStatus.PUT_OK
_SUCCESS = int(ResponseCode.SUCCESS)


class HotTurn:
    """Collects what the engine lays out for all connections, and carries it out when the turn of the loop ends.

    settle() does it at once. Whoever is to see the messages calls it before: frames of the same read that are served behind the
    sends, and whoever wants a plan of the store of its own (the store calls it then). Answers leave in one write for each
    read: at once, or after the sync for those that wait for the disk. While too many answers wait (`sendWaitCountMax`),
    sends take the long way, which refuses them as busy.

    While one connection sends at a time, there is nobody to wait for, and a further round of the loop would only cost its
    price: then each read is carried out as it comes, until reads of two connections follow upon each other.
    """

    __slots__ = (
        "_alone_count",
        "_appender",
        "_broker",
        "_busy_poll",
        "_call_soon",
        "_clock",
        "_ended_ns",
        "_last_channel",
        "_long_polling",
        "_scheduled",
        "_stats",
        "_transactions",
        "engine",
        "observe",
        "plan",
    )

    def __init__(self, engine: HotEngine, broker: BrokerContext, busy_poll: BusyPoll | None = None) -> None:
        self.engine = engine
        self.plan = engine.plan()
        self.observe: Callable[[HotPlan, bool | None, int], None] | None = None
        """Told which answers of a plan leave (all: None; of those that waited for the disk, or the others) and their code."""
        self._broker = broker
        self._appender = broker.store.appender
        self._busy_poll = busy_poll
        self._clock = broker.clock
        self._stats = broker.stats
        self._long_polling = broker.long_polling
        self._transactions = broker.transactions.turn
        self._alone_count = 0
        self._ended_ns = 0
        self._last_channel: Channel | None = None
        self._call_soon: Callable[[Callable[[], None]], object] | None = None
        self._scheduled = False
        self._appender.settle_open_plan = self.settle

    def more(self) -> None:
        """The plan has sends: they are carried out at the end of this turn, or now if they are many or nobody else sends."""
        if self.observe is not None and not self.plan.began_ns:
            self.plan.began_ns = self._clock.monotonic_ns()
        if self._alone_count >= ALONE_MIN or self.plan.log_bytes > TURN_BYTES_MAX:
            self.settle()
        elif not self._scheduled:
            self._scheduled = True
            if self._call_soon is None:
                # Kept, because asking for the loop is a system call (getpid) up to Python 3.11.
                self._call_soon = asyncio.get_running_loop().call_soon
            self._call_soon(self._end)

    def settle(self) -> None:
        plan = self.plan
        if plan.store_plan is None:
            # Nothing to do, but what it took for granted may be over.
            if plan.suffix is not None:
                self.plan = self.engine.plan()
            return
        self.plan = self.engine.plan()
        if plan.message_count:
            self._carry_out(plan)
        else:
            self._appender.abort(plan.store_plan)

    def give_up(self) -> None:
        """The engine failed in the middle of a plan: nothing of it is stored, and every sender is told."""
        plan = self.plan
        self.plan = self.engine.plan()
        if plan.store_plan is not None:
            self._appender.abort(plan.store_plan)
            self._refuse(plan)

    # -- inside

    def _end(self) -> None:
        self._scheduled = False
        self.settle()

    def _carry_out(self, plan: HotPlan) -> None:
        appender, store_plan = self._appender, plan.store_plan
        assert store_plan is not None
        began_ns = self._clock.monotonic_ns()
        if self.observe is not None and not plan.began_ns:
            plan.began_ns = began_ns
        self._look_for_company(plan.sections, began_ns)
        planned = plan.transactions
        try:
            if planned is not None:
                self._transactions.lay_out_ops(planned, store_plan)
            appender.write(store_plan)
        except StoreError as error:
            appender.abort(store_plan)
            if not isinstance(error, DiskFull):
                log.error("%d messages were not stored: %s", plan.message_count, error)
            self._refuse(plan)
            return
        except BaseException:
            appender.abort(store_plan)
            self._refuse(plan)
            raise
        appender.commit(store_plan)
        if planned is not None:
            self._transactions.carried_out(planned)
        ended_ns = self._ended_ns = self._clock.monotonic_ns()
        self._stats.put_elapsed((ended_ns - began_ns) // 1_000_000, plan.message_count)
        if self._busy_poll is not None:
            self._busy_poll.turn(began_ns, ended_ns)
        self.engine.count(plan)
        if plan.sections or self.observe is not None:
            self._answer_stored(plan, store_plan)
        if self._long_polling.ready:
            self._long_polling.run_ready()

    def _look_for_company(self, sections: list[tuple[Channel, int, int]], began_ns: int) -> None:
        if len(sections) != 1:
            # Several reads, or sends that want no answer, of which it is not known whose they are.
            self._alone_count = 0
            return
        channel = sections[0][0]
        if channel is not self._last_channel and began_ns - self._ended_ns < COMPANY_NS:
            self._alone_count = 0
        elif self._alone_count < ALONE_MIN:
            self._alone_count += 1
        self._last_channel = channel

    def _answer_stored(self, plan: HotPlan, store_plan: AppendPlan) -> None:
        """Now, or after the sync for those that wait for it."""
        durable = self._appender.durable(store_plan)
        if durable is None:
            self._answer(plan, None, _OK)
            return
        self._answer(plan, False, _OK)
        self._broker.waiting_sends.count += plan.waiting_count
        durable.add_done_callback(functools.partial(self._durable, plan))

    def _durable(self, plan: HotPlan, done: asyncio.Future[PutStatus]) -> None:
        self._broker.waiting_sends.count -= plan.waiting_count
        if done.cancelled() or done.exception() is not None:
            status = PutStatus.FLUSH_DISK_TIMEOUT
        else:
            status = done.result()
        self._answer(plan, True, status)

    def _answer(self, plan: HotPlan, waiting: bool | None, status: PutStatus) -> None:
        """Answers the chosen sends; those that wait for copies may get a weaker code than those that do not."""
        weak = self._broker.replicas.weak_status
        if status is _OK and (weak is _OK or waiting is False):
            self._write(plan, waiting, _SUCCESS)
            return
        for group in (False, True) if waiting is None else (waiting,):
            final = weak if group and status is _OK else status
            code = put_answer.STORED_CODES.get(final)
            if code is None:
                code, remark = put_answer.refusal(final, self._broker)
                self._write(plan, group, code, remark)
            else:
                self._write(plan, group, code)

    def _refuse(self, plan: HotPlan) -> None:
        self._broker.stats.put_failure(plan.message_count)
        if plan.sections:
            self._write(plan, None, ResponseCode.SERVICE_NOT_AVAILABLE, put_answer.service_not_available(self._broker))

    def _write(self, plan: HotPlan, waiting: bool | None, code: int, remark: str | None = None) -> None:
        if self.observe is not None:
            self.observe(plan, waiting, code)
        for channel, first, end in plan.sections:
            answers = plan.answers(first, end, waiting, code, remark)
            if answers:
                channel.write(answers)
