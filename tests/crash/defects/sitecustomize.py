"""Defects on purpose, for a server process of a test: `GANTRY_TEST_DEFECT` names one, and this folder is on its PYTHONPATH.

Python imports a module of this name at its start, so that the product itself knows nothing of them. They replace methods,
which compiled classes do not allow: the process runs on the pure core.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


def skip_sync() -> None:
    """What calls itself a sync of the log does nothing.

    Those of the small files are true ones: without them a cut can take such a file and its copy, the start is refused, and
    the loop ends before the log has told anything.
    """
    from gantry.runtime import system_file

    fdatasync = system_file._fdatasync

    def not_the_log(fd: int) -> None:
        if "/commitlog/" not in os.readlink(f"/proc/self/fd/{fd}"):
            fdatasync(fd)

    system_file._fdatasync = not_the_log


def acknowledge_before_sync() -> None:
    """The answer does not wait for the sync that it promises."""
    from gantry.store.flush import FlushService

    request = FlushService.request

    def at_once(self: FlushService, end: int) -> Any:
        import asyncio

        from gantry.store.status import PutStatus

        request(self, end)
        future: asyncio.Future[PutStatus] = asyncio.get_running_loop().create_future()
        future.set_result(PutStatus.PUT_OK)
        return future

    FlushService.request = at_once  # type: ignore[method-assign]


def show_before_sync() -> None:
    """Readers see what is written, and not what is synced. Syncs take long, so that there is something to see."""
    import time

    from gantry.runtime import system_file
    from gantry.store.appender import Appender

    fdatasync = system_file._fdatasync

    def slow(fd: int) -> None:
        time.sleep(0.03)
        fdatasync(fd)

    system_file._fdatasync = slow
    commit = Appender.commit

    def expose_at_once(self: Appender, plan: Any) -> None:
        sync, self._sync_flush = self._sync_flush, False
        try:
            commit(self, plan)
        finally:
            self._sync_flush = sync
        self._flush.trigger(self._log.wrote_offset)

    Appender.commit = expose_at_once  # type: ignore[method-assign]


def retry_failed_sync() -> None:
    """A second sync of the same pages, whose success means nothing: the kernel has told its error once."""
    from gantry.errors import DiskError
    from gantry.runtime.system_file import SystemFile
    from gantry.store.commit_log import CommitLog

    sync_upto = CommitLog.sync_upto

    def twice(self: CommitLog, target: int) -> None:
        try:
            sync_upto(self, target)
        except DiskError:
            sync_upto(self, target)

    def unpoisoned(self: SystemFile, do: Callable[[int], object]) -> None:
        from gantry.runtime.system_file import disk_error

        try:
            do(self._fd)
        except OSError as error:
            raise disk_error(self.path, "sync", error) from error

    CommitLog.sync_upto = twice  # type: ignore[method-assign]
    SystemFile._sync_by = unpoisoned  # type: ignore[method-assign]


def cut_one_record_too_many() -> None:
    """Recovery after a crash drops the last whole record of the log."""
    from gantry.store.log_end import LogEnd

    find = LogEnd.find

    def short(self: LogEnd, start: int, synced: int) -> int:
        end = find(self, start, synced)
        last = self.point.record_offset
        return last if last >= start and not self._report.clean_stop else end

    LogEnd.find = short  # type: ignore[method-assign]


def give_an_offset_twice_after_a_recovery() -> None:
    """A start gives the last offset of each queue to the next message, too."""
    from gantry.store.recovery import Recovery

    run = Recovery.run

    def one_back(self: Recovery) -> Any:
        report = run(self)
        for queue in self._queues:
            queue.planned_offset = max(queue.max_offset - 1, queue.min_offset)
        return report

    Recovery.run = one_back  # type: ignore[method-assign]


def give_an_offset_twice_after_an_abort() -> None:
    """A plan that is withdrawn gives back one queue offset more than it took."""
    from gantry.store._append_plan_py import AppendPlan

    def one_too_many(self: AppendPlan) -> None:
        for record in self.records:
            if record.queue is not None:
                record.queue.planned_offset = max(record.queue.max_offset - 1, record.queue.min_offset)

    AppendPlan.withdraw = one_too_many  # type: ignore[method-assign]


def wait_by_the_wall_clock() -> None:
    """Delayed messages come when the wall clock says what was written, whatever it did meanwhile."""
    from gantry.broker.schedule import schedule_message_service

    schedule_message_service._Level.corrected = lambda self, offset, due_ms, now_ms, monotonic_ms: due_ms  # type: ignore[method-assign]


def let_store_times_go_back() -> None:
    """Records carry the wall clock's time, whatever the last one had."""
    from gantry.store.appender import Appender

    new_plan = Appender.new_plan

    def by_the_wall_clock(self: Appender) -> Any:
        plan = new_plan(self)
        plan.store_timestamp = self._clock.now_ms()
        return plan

    Appender.new_plan = by_the_wall_clock  # type: ignore[method-assign]


class WallClock:
    """A clock whose monotonic time is the wall clock's."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.monotonic_ms = clock.now_ms

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


def lock_queues_by_the_wall_clock() -> None:
    """Leases of queues begin and end by the wall clock."""
    from gantry.broker.client_manager.rebalance_lock_manager import RebalanceLockManager

    make = RebalanceLockManager.__init__

    def made(self: RebalanceLockManager, clock: Any, **settings: Any) -> None:
        make(self, WallClock(clock), **settings)

    RebalanceLockManager.__init__ = made  # type: ignore[method-assign]


def expire_clients_by_the_wall_clock() -> None:
    """A client is silent for what the wall clock says since its last heartbeat."""
    import time

    from gantry.broker.client_manager.client_channel import ClientChannelInfo

    def expired(self: ClientChannelInfo, *, monotonic_ms: int, expired_after_ms: int) -> bool:
        return time.time() * 1000 - self.last_update_timestamp > expired_after_ms

    ClientChannelInfo.expired = expired  # type: ignore[method-assign]


def hold_pulls_by_the_wall_clock() -> None:
    """A pull that waits has its deadline on the wall clock."""
    from gantry.broker.long_polling.pull_request_hold import HeldPull, PullRequestHold

    make, hold = PullRequestHold.__init__, PullRequestHold.hold

    def made(self: PullRequestHold, clock: Any, *, count_max: int) -> None:
        make(self, WallClock(clock), count_max=count_max)

    def held(self: PullRequestHold, pull: HeldPull) -> bool:
        clock: Any = self._clock
        pull.deadline_ms += clock.now_ms() - clock._clock.monotonic_ms()
        return hold(self, pull)

    PullRequestHold.__init__, PullRequestHold.hold = made, held  # type: ignore[method-assign]


def show_a_half_at_once() -> None:
    """A half message is stored as an ordinary one."""
    from gantry.broker.hot import _hot_py
    from gantry.broker.processor import send_message

    _hot_py.common_half = lambda *send: None
    send_message.is_half = lambda properties, reconsume_times, delay_level: False


def answer_a_commit_before_it_is_stored() -> None:
    """A commit is acknowledged, and its message follows three seconds later, when nothing comes between."""
    from gantry.broker.transaction.endings import Endings
    from gantry.store.status import PutStatus

    _leave_ends_to_the_processor()
    commit_now = Endings._commit_now

    async def later(self: Endings, half: Any, topic: str, queue_id: int, target: int | None) -> PutStatus:
        import asyncio

        if target is not None:
            self._over(half, target)
            self._metrics.committed(topic, 0)
            self._ops.write()

        async def follow() -> None:
            await self._clock.sleep_ms(3_000)
            await commit_now(self, half, topic, queue_id, None)

        self._following = asyncio.get_running_loop().create_task(follow())  # type: ignore[attr-defined]
        return PutStatus.PUT_OK

    Endings._commit_now = later  # type: ignore[method-assign]


def _leave_ends_to_the_processor() -> None:
    from gantry.broker.hot import _hot_py

    _hot_py.lay_out_end = lambda *end: False


def drop_a_half_after_its_last_check() -> None:
    """What nobody ended is forgotten, not set aside."""
    from gantry.broker.transaction.check import Verdict
    from gantry.broker.transaction.check_service import CheckService

    form = CheckService._form

    async def none(self: CheckService, half: Any, verdict: Any) -> Any:
        return None if verdict is Verdict.PARK else await form(self, half, verdict)

    CheckService._form = none  # type: ignore[method-assign]


def check_without_end() -> None:
    """A half is checked however often it was."""
    from gantry.broker.transaction import check_service
    from gantry.broker.transaction.check import Verdict, judge

    def never_parked(half: Any, **view: Any) -> Verdict:
        verdict = judge(half, **view)
        return Verdict.CHECK if verdict is Verdict.PARK else verdict

    check_service.judge = never_parked


def begin_behind_the_halves_that_are_open() -> None:
    """A start takes the end of the half queue for its position: what was open before is never looked at again."""
    from gantry.broker.transaction.transaction_service import TransactionService

    start = TransactionService.start

    async def at_the_end(self: TransactionService) -> None:
        await start(self)
        self.ledger.skip_to(self._store.max_offset("RMQ_SYS_TRANS_HALF_TOPIC", 0))

    TransactionService.start = at_the_end  # type: ignore[method-assign]


def commit_what_was_rolled_back() -> None:
    """A rollback is taken for a commit."""
    from gantry.broker.hot import _hot_py
    from gantry.broker.transaction.endings import Endings
    from gantry.store.status import PutStatus

    lay_out_end = _hot_py.lay_out_end

    async def commit(self: Endings, half: Any) -> PutStatus:
        return await self.commit(half)

    def lay_out_commit(broker: Any, plan: Any, request: Any, takes: Any) -> bool:
        request.ext_fields["commitOrRollback"] = "8"
        return lay_out_end(broker, plan, request, takes)

    Endings.rollback = commit  # type: ignore[method-assign]
    _hot_py.lay_out_end = lay_out_commit


def tell_of_rollbacks_later() -> None:
    """The ends of a turn are told to the op queue with the next batch, rollbacks, too."""
    from gantry.broker.transaction.planned import TurnOfTransactions

    TurnOfTransactions.lay_out_ops = lambda self, planned, plan: None  # type: ignore[method-assign]


DEFECTS = {
    defect.__name__: defect
    for defect in (
        skip_sync,
        acknowledge_before_sync,
        show_before_sync,
        retry_failed_sync,
        cut_one_record_too_many,
        give_an_offset_twice_after_a_recovery,
        give_an_offset_twice_after_an_abort,
        wait_by_the_wall_clock,
        let_store_times_go_back,
        lock_queues_by_the_wall_clock,
        expire_clients_by_the_wall_clock,
        hold_pulls_by_the_wall_clock,
        show_a_half_at_once,
        answer_a_commit_before_it_is_stored,
        drop_a_half_after_its_last_check,
        check_without_end,
        begin_behind_the_halves_that_are_open,
        commit_what_was_rolled_back,
        tell_of_rollbacks_later,
    )
}

if name := os.environ.get("GANTRY_TEST_DEFECT"):
    DEFECTS[name]()
