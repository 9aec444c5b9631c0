"""The op queue's writer: ended halves are told in batches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from gantry.errors import StoreError
from gantry.model import Host
from gantry.store import AppendPlan

from .op_message import encode_op_bodies, op_message

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock, TimerHandle
    from gantry.store import MessageStore

    from ..config import BrokerConfig
    from .ledger import HalfLedger

log = logging.getLogger(__name__)


class OpWriter:
    """Collects the offsets of halves that are over, and writes them as op messages.

    A batch is written transactionOpBatchInterval after its first offset came, at once when it has transactionOpMsgMaxSize
    bytes, or by write(). A crash may lose a batch: what was committed is found again in the log (`copies`), and of what was
    rolled back write() has told before its sender was answered. A write that fails is tried again.
    """

    def __init__(self, config: BrokerConfig, clock: Clock, store: MessageStore, ledger: HalfLedger, host: Callable[[], Host]):
        self._config = config
        self._clock = clock
        self._store = store
        self._ledger = ledger
        self._host = host
        self._offsets: list[int] = []
        self._size = 0
        self._timer: TimerHandle | None = None
        self._soon: asyncio.Future[AppendPlan | None] | None = None

    @property
    def pending_count(self) -> int:
        return len(self._offsets)

    def add(self, offset: int) -> None:
        """This half is over; the op queue is told soon."""
        self._offsets.append(offset)
        self._size += len(str(offset)) + 1
        if self._size >= self._config.transaction_op_msg_max_size:
            self._try_write()
        elif self._timer is None:
            self._timer = self._clock.call_later(self._config.transaction_op_batch_interval, self._try_write)

    def add_all(self, offsets: Collection[int]) -> None:
        """As add() for each."""
        self._offsets += offsets
        self._size += _size_of(offsets)
        if self._size >= self._config.transaction_op_msg_max_size:
            self._try_write()
        elif self._timer is None:
            self._timer = self._clock.call_later(self._config.transaction_op_batch_interval, self._try_write)

    def is_full_with(self, offsets: Collection[int]) -> bool:
        """With these, a batch would not wait any longer."""
        return self._size + _size_of(offsets) >= self._config.transaction_op_msg_max_size

    def lay_out(self, plan: AppendPlan, more: Iterable[int]) -> list[int]:
        """Lays out op messages with all that was added and `more` in a plan of others; told() follows when that is real.

        Returns: their queue offsets.
        """
        bodies = encode_op_bodies([*self._offsets, *more], self._config.transaction_op_msg_max_size)
        host, now_ms = self._host(), self._clock.now_ms()
        return [plan.add(op_message(body, host, now_ms)).queue_offset for body in bodies]

    def told(self, op_offsets: Iterable[int], more: Iterable[int]) -> None:
        """What lay_out() laid out is in the op queue."""
        self.cancel()
        highest = max([*self._offsets, *more])
        for op_offset in op_offsets:
            # All are done with when the last is; a finer account would gain nothing.
            self._ledger.take_op(op_offset, (highest,))
        self._offsets, self._size = [], 0

    def write_soon(self) -> asyncio.Future[AppendPlan | None]:
        """Everything added so far is written within this turn of the loop; the plan it was written with, for its durability.

        The future raises StoreError when it was not written; it is tried again all the same.
        """
        if self._soon is None:
            loop = asyncio.get_running_loop()
            self._soon = loop.create_future()
            loop.call_soon(self._write_now)
        return self._soon

    def write(self) -> AppendPlan | None:
        """Writes what is pending; None when nothing is. Raises: StoreError, and all is as before then."""
        # Ends of the open plan may be added here, or tell all there is.
        self._store.settle()
        self.cancel()
        if not self._offsets:
            return None
        plan = self._store.new_plan()
        try:
            op_offsets = self.lay_out(plan, ())
            self._store.write(plan)
        except BaseException:
            self._store.abort(plan)
            raise
        self._store.commit(plan)
        self.told(op_offsets, ())
        return plan

    def cancel(self) -> None:
        """No write happens by itself until the next add()."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _try_write(self) -> None:
        self._timer = None
        try:
            self.write()
        except StoreError as error:
            log.error("%d ended half messages are not told to the op queue yet: %s", len(self._offsets), error)
            self._timer = self._clock.call_later(self._config.transaction_op_batch_interval, self._try_write)

    def _write_now(self) -> None:
        soon, self._soon = self._soon, None
        assert soon is not None
        try:
            plan = self.write()
        except StoreError as error:
            self._timer = self._clock.call_later(self._config.transaction_op_batch_interval, self._try_write)
            if not soon.done():
                soon.set_exception(error)
        else:
            if not soon.done():
                soon.set_result(plan)


def _size_of(offsets: Collection[int]) -> int:
    """What they add to a body at most; nearly all of them have as many digits as the highest."""
    return len(offsets) * (len(str(max(offsets))) + 1) if offsets else 0
