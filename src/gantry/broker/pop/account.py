"""The ledger and its journal together: every change is noted before it counts, and offsets are committed after it."""

from __future__ import annotations

import logging
import posixpath
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from gantry.errors import DiskFault, DiskFull, StoreError

from .checkpoints import Pending
from .journal import PopJournal
from .ledger import DEADLINE_MAX, Out, PopLedger, PopQueue, QueueKey
from .ops import AckOp, ChangeOp, DropOp, MovedOp, OffsetsOp, Op, OrderOp, PopOp, TimeOp

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.runtime.disk import Disk
    from gantry.store import MessageStore

    from ..offset.consumer_offset_manager import ConsumerOffsetManager

log = logging.getLogger(__name__)

ACKS_PER_RECORD = 4096
TIME_NOTED_MS = 1_000
"""How far ledger time runs before it is noted with the next operation."""
ABSENT = (0, -1)
"""Stands for a consumerOffset.json that is not there."""


class LedgerClock:
    """Ledger time: elapsed ms, counted on from the wall clock of the start. Jumps of the wall clock do not move it, and a
    start behind one goes on from where the ledger was: what is out waits the time it had left, not the jump as well."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = clock.now_ms() - clock.monotonic_ms()

    def not_before(self, ledger_ms: int) -> None:
        self._ahead = max(self._ahead, ledger_ms - self._clock.monotonic_ms())

    def now(self) -> int:
        return self._clock.monotonic_ms() + self._ahead

    def wall(self) -> int:
        return self._clock.now_ms()


class PopAccount:
    """What processors and the revive service change the ledger through.

    Every method that changes something raises StoreError when it cannot be noted; nothing has changed then. What an answer
    told a client is in the page cache by then: it survives a killed process, and a power cut as far as the journal was synced.
    """

    def __init__(
        self,
        disk: Disk,
        clock: Clock,
        store: MessageStore,
        offsets: ConsumerOffsetManager,
        *,
        directory: str,
        journal_bytes_max: int,
    ) -> None:
        self.ledger = PopLedger()
        self.time = LedgerClock(clock)
        self.foreign = False
        """Another broker had the store, or there was no ledger yet."""
        self._disk = disk
        self._store = store
        self._offsets = offsets
        self._journal = PopJournal(disk, posixpath.join(directory, "pop"), journal_bytes_max=journal_bytes_max)
        self.on_deadline: Callable[[int], None] = lambda deadline: None
        """Told when a message got a deadline that may be the next one."""
        offsets.file.before_replace = self._offsets_replaced
        offsets.on_moved = self._offset_set

    # -- life

    async def load(self) -> None:
        """Reads the ledger; offsets and store are loaded. What it says is only believed when consumerOffset.json is one that
        this broker wrote with it: after another one has had the store, the offsets alone count.

        Raises: DiskFault.
        """
        ledger = await self._disk.run(self._journal.load)
        current = await self._disk.run(self._offsets_on_disk)
        if current not in (ledger.own_offsets or [ABSENT]):
            if ledger.queues:
                log.warning("consumerOffset.json is not from this broker: popped messages follow its offsets, not the ledger")
            ledger = PopLedger()
            self.foreign = True
        self.time.not_before(ledger.time)
        ledger.after_restart(
            log_end=self._store.max_physical_offset,
            now=self.time.now(),
            max_offset_of={queue.key: self._store.max_offset(queue.topic, queue.queue_id) for queue in ledger.all_queues()},
        )
        ledger.own_offsets = [current]
        self.ledger = ledger
        for queue in ledger.all_queues():
            self._commit(queue)
        if ledger.out_count:
            log.info("%d popped messages wait for an acknowledgement or their deadline", ledger.out_count)

    def take_over(self, pending: Pending) -> int:
        """Takes over what another broker's checkpoints say is out; returns how many. Before begin().

        Its committed offsets have passed them; ours may not, so those go back to the first that is out. What is not below the
        committed offset, the next pops give anyway.
        """
        taken = 0
        for (topic, group, queue_id), out in pending.items():
            committed = self._offsets.query(group, topic, queue_id)
            first = self._store.min_offset(topic, queue_id)
            wanted = {offset: times for offset, times in out.items() if first <= offset < committed}
            if not wanted:
                continue
            self.ledger.apply(self.ledger.new_queue(topic, group, queue_id))
            queue = self.ledger.find(topic, group, queue_id)
            assert queue is not None
            by_times: dict[tuple[int, int], list[int]] = {}
            for offset in sorted(wanted):
                by_times.setdefault(wanted[offset], []).append(offset)
            now, wall = self.time.now(), self.time.wall()
            for (pop_time, deadline), offsets in sorted(by_times.items()):
                # By the clock of this start: a deadline far ahead was made by a clock that was.
                deadline = now + max(min(deadline - wall, deadline - pop_time), 0)
                self.ledger.apply(PopOp(queue.number, committed, pop_time, deadline, tuple(offsets)))
            taken += len(wanted)
            self._offsets.commit(group, topic, queue_id, queue.base, "another broker's checkpoints")
        return taken

    async def begin(self) -> None:
        """From here on changes are noted; the ledger as it is now is on the disk when this returns. Raises: DiskError."""
        await self._disk.run(self._journal.begin, self.ledger)

    async def close(self) -> None:
        await self._journal.close()

    # -- looking

    def find(self, topic: str, group: str, queue_id: int) -> PopQueue | None:
        return self.ledger.find(topic, group, queue_id)

    def next_offset(self, topic: str, group: str, queue_id: int) -> int:
        """Where the next pop begins as far as ledger and offsets say; -1 when neither knows."""
        queue = self.ledger.find(topic, group, queue_id)
        return max(self._offsets.query(group, topic, queue_id), -1 if queue is None else queue.next)

    def out_of_queue(self, topic: str, group: str, queue_id: int) -> int:
        """Messages of a queue that are out."""
        queue = self.ledger.find(topic, group, queue_id)
        return 0 if queue is None else len(queue.slots)

    # -- changing

    def queue(self, topic: str, group: str, queue_id: int) -> PopQueue:
        """The account of a queue, opened when there is none. Raises: StoreError."""
        queue = self.ledger.find(topic, group, queue_id)
        if queue is None:
            self._do(self.ledger.new_queue(topic, group, queue_id))
            queue = self.ledger.find(topic, group, queue_id)
            assert queue is not None
        return queue

    def popped(self, queue: PopQueue, next_offset: int, pop_time: int, invisible_time: int, offsets: Iterable[int]) -> None:
        """Messages go out; the next pop begins behind them. Units: ms. Raises: StoreError."""
        deadline = self.deadline(invisible_time)
        op = PopOp(queue.number, next_offset, pop_time, deadline, tuple(offsets))
        self._do(op)
        self._commit(queue)
        self._offsets.commit_pull(queue.group, queue.topic, queue.queue_id, next_offset)
        if op.offsets:
            self.on_deadline(deadline)

    def set_next(self, queue: PopQueue, next_offset: int) -> None:
        """The next pop begins there. Raises: StoreError."""
        self._do(PopOp(queue.number, next_offset, 0, 0, ()))

    def ack(self, queue: PopQueue, offsets: Iterable[int], pop_time: int) -> int:
        """Messages are done, as far as they are out under a handle with this pop time; returns how many. Raises: StoreError."""
        done = self.ledger.out_of(queue, offsets, pop_time)
        self.done(queue, done)
        return len(done)

    def ack_all(self, acks: Iterable[tuple[PopQueue, Sequence[int], int]]) -> None:
        """Many acknowledgements noted together: queue, offsets and pop time of each. Raises: StoreError; none is done then."""
        done: dict[PopQueue, list[int]] = {}
        for queue, offsets, pop_time in acks:
            out = self.ledger.out_of(queue, offsets, pop_time)
            if out:
                done.setdefault(queue, []).extend(out)
        if done:
            self._do(
                *(
                    AckOp(queue.number, tuple(out[at : at + ACKS_PER_RECORD]))
                    for queue, out in done.items()
                    for at in range(0, len(out), ACKS_PER_RECORD)
                )
            )
            for queue in done:
                self._commit(queue)

    def done(self, queue: PopQueue, offsets: list[int]) -> None:
        """Messages are done, whatever their handle. Raises: StoreError."""
        if not offsets:
            return
        self._do(
            *(AckOp(queue.number, tuple(offsets[at : at + ACKS_PER_RECORD])) for at in range(0, len(offsets), ACKS_PER_RECORD))
        )
        self._commit(queue)

    def change(self, queue: PopQueue, offset: int, pop_time: int, invisible_time: int) -> int:
        """A message that is out under a handle with this pop time gets a new one; returns the new pop time, also when
        there is no such message: the handle it goes into then means nothing. Raises: StoreError.
        """
        # Two handles of a message must differ, whatever the wall clock says.
        new_pop_time = max(self.time.wall(), pop_time + 1)
        if self.ledger.out_of(queue, (offset,), pop_time):
            deadline = self.deadline(invisible_time)
            self._do(ChangeOp(queue.number, offset, new_pop_time, deadline))
            self.on_deadline(deadline)
        return new_pop_time

    def moved(self, out: list[tuple[Out, int]]) -> None:
        """Messages were appended again; with each the end of its copy in the log. Raises: StoreError."""
        self._do(*(MovedOp(message.queue.number, message.offset, end) for message, end in out))

    def settle(self) -> None:
        """Commits what was appended again, as far as the copies are on the disk by now."""
        for queue in self.ledger.settle(self._store.flushed_offset):
            self._commit(queue)

    def note_order(self, queue: PopQueue, committed: int, info: bytes) -> None:
        """What an orderly pop has out, and its committed offset. Raises: StoreError."""
        self._do(OrderOp(queue.number, committed, info))

    def drop_topic(self, topic: str) -> None:
        """Forgets the accounts of a topic that is deleted. Raises: StoreError."""
        self._drop(self.ledger.of_topic(topic))

    def drop_group(self, group: str) -> None:
        """Forgets the accounts of a group that is deleted. Raises: StoreError."""
        self._drop(self.ledger.of_group(group))

    def drop_queue(self, topic: str, group: str, queue_id: int) -> None:
        queue = self.ledger.find(topic, group, queue_id)
        if queue is not None:
            self._drop([queue])

    # -- inside

    def deadline(self, invisible_time: int) -> int:
        return min(self.time.now() + max(invisible_time, 0), DEADLINE_MAX)

    def _drop(self, queues: list[PopQueue]) -> None:
        if queues:
            self._do(*(DropOp(queue.number) for queue in queues))

    def _do(self, *ops: Op) -> None:
        now = self.time.now()
        if now - self.ledger.time >= TIME_NOTED_MS:
            ops = (TimeOp(now), *ops)
        self._journal.write(*ops)
        for op in ops:
            self.ledger.apply(op)
        self._journal.end_if_long(self.ledger)

    def _commit(self, queue: PopQueue) -> None:
        """Only forwards: an offset that somebody set ahead of the ledger stays."""
        base = queue.base
        if queue.committed > base:
            base = queue.committed
        offsets, topic, group, queue_id = self._offsets, queue.topic, queue.group, queue.queue_id
        if base > offsets.query(group, topic, queue_id) and not offsets.has_reset(group, topic, queue_id):
            offsets.commit(group, topic, queue_id, base, "pop")

    def _offset_set(self, topic: str, group: str, queue_id: int, offset: int) -> None:
        """An operator's word counts more than where the ledger stands, also after a crash."""
        queue = self.ledger.find(topic, group, queue_id)
        if queue is None or (queue.next == offset and queue.committed < 0):
            return
        try:
            if queue.next >= 0:
                self.set_next(queue, offset)
            if queue.committed >= 0:
                self.note_order(queue, -1, b"")
        except StoreError as error:
            log.error("the ledger does not know that %s was set to %d: %s", queue.key, offset, error)

    def _offsets_replaced(self, data: bytes) -> Callable[[], None]:
        try:
            self._do(OffsetsOp(zlib.crc32(data), len(data)))
        except DiskFull:
            raise  # the file waits, too, until there is room
        except StoreError as error:
            # Without it the next start goes by the offsets alone, and those must not stay behind for it.
            log.error("the ledger does not know the new consumerOffset.json: %s", error)
            return lambda: None
        return self._sync

    def _sync(self) -> None:
        try:
            self._journal.sync()
        except DiskFault as error:
            log.error("the ledger's journal is not on the disk: %s", error)

    def _offsets_on_disk(self) -> tuple[int, int]:
        try:
            data = self._disk.read_file(self._offsets.file.path)
        except DiskFault:
            return ABSENT
        return zlib.crc32(data), len(data)


__all__ = ["LedgerClock", "PopAccount", "QueueKey"]
