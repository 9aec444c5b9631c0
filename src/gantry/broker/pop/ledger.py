"""The one account of popped messages.

Theory. Per queue of a group there is one number, `next`: where the next pop begins. A popped message is *out* until it
is acknowledged or its deadline passes; what is below `next` and not out is done. So the offset that may be committed
is the smaller one of `next` and the lowest offset that is out: whoever knows nothing but that offset (another broker, or
this one without its ledger) delivers again and loses nothing.

A message that was appended again after its deadline stays out, without a deadline, until its copy is certainly on the
disk: a power cut that takes the copy must find the original not yet committed.

Memory. A message that is out takes a slot: a row in four arrays and an entry of its queue's table, about 140 bytes. Deadlines
are buckets of slots by ms, with a heap over the buckets; slots freed early stay in their bucket until as many are
stale as alive, then the buckets are made again. The lowest offset out comes from an array of popped offsets that is made
again by the same rule. Everything is O(1) for a message, amortized, and nothing is ever scanned for what is due.

Units: offsets in queue entries. Deadlines in ledger time: ms that run like the monotonic clock and began at the wall clock
of the start, or where ledger time had come to before it, whichever is later; `pop_time` is wall clock ms.
"""

from __future__ import annotations

import heapq
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .ops import AckOp, ChainOp, ChangeOp, DropOp, MovedOp, OffsetsOp, Op, OrderOp, PopOp, QueueOp, TimeOp

FREE = -1
MOVED = -2
DEADLINE_MAX = 1 << 62
STALE_SLOTS_MIN = 4096
OWN_OFFSETS_KEPT = 16

QueueKey = tuple[str, str, int]
"""topic, group, queue id"""


class PopQueue:
    """One queue of a group. `slots`: offset of each message that is out -> its slot."""

    __slots__ = ("_head", "_order", "busy", "committed", "group", "next", "number", "order_info", "queue_id", "slots", "topic")

    def __init__(self, number: int, topic: str, group: str, queue_id: int) -> None:
        self.number = number
        self.topic = topic
        self.group = group
        self.queue_id = queue_id
        self.next = -1
        """-1: nothing was popped yet, the committed offset says where to begin."""
        self.slots: dict[int, int] = {}
        self._order = array("q")
        self._head = 0
        self.busy = False
        """A pop of it is under way."""
        self.committed = -1
        """Of an orderly pop, which commits by its own rule; -1 when there was none."""
        self.order_info: bytes | None = None

    @property
    def key(self) -> QueueKey:
        return self.topic, self.group, self.queue_id

    @property
    def base(self) -> int:
        """The offset that may be committed; -1 when nothing was popped."""
        order, slots = self._order, self.slots
        head, end = self._head, len(order)
        while head < end and order[head] not in slots:
            head += 1
        self._head = head
        return self.next if head == end else min(order[head], self.next)

    def note(self, offsets: tuple[int, ...]) -> None:
        """Offsets that went out just now, in rising order."""
        order = self._order
        backwards = bool(offsets) and len(order) > self._head and offsets[0] <= order[-1]
        if backwards or len(order) - self._head > 2 * len(self.slots) + STALE_SLOTS_MIN:
            self._order = array("q", sorted(self.slots))
            self._head = 0
        else:
            if self._head > STALE_SLOTS_MIN and self._head * 2 > len(order):
                del order[: self._head]
                self._head = 0
            order.extend(offsets)

    def note_all(self) -> None:
        self._order = array("q", sorted(self.slots))
        self._head = 0


class Out(NamedTuple):
    """A message that is out."""

    queue: PopQueue
    offset: int
    pop_time: int
    deadline: int


class PopLedger:
    """Every queue's account, and what is due when. Pure: no clock, no file.

    apply() does an operation; it never fails on what it does not know (a journal may have lost its end), and the same
    operations in the same order give the same ledger.
    """

    def __init__(self) -> None:
        self.queues: list[PopQueue | None] = []
        """By number; None for one that was dropped."""
        self._by_key: dict[QueueKey, PopQueue] = {}
        self._queue = array("i")
        self._offset = array("q")
        self._pop_time = array("q")
        self._deadline = array("q")
        self._free = array("i")
        self._buckets: dict[int, array[int]] = {}
        self._heap: list[int] = []
        self._ready = array("i")
        """Slots of the bucket whose deadline has come, the next one last."""
        self._ready_deadline = 0
        self._bucketed = 0
        self._timed = 0
        self._moved: deque[tuple[int, int, int]] = deque()
        """(log end, queue number, offset) in the order of the log."""
        self.own_offsets: list[tuple[int, int]] = []
        """CRC-32 and size of the last contents of consumerOffset.json that this broker meant to write."""
        self.time = 0
        """Ledger time as it was noted last."""

    # -- looking

    def find(self, topic: str, group: str, queue_id: int) -> PopQueue | None:
        return self._by_key.get((topic, group, queue_id))

    def of_topic(self, topic: str) -> list[PopQueue]:
        return [queue for queue in self._by_key.values() if queue.topic == topic]

    def of_group(self, group: str) -> list[PopQueue]:
        return [queue for queue in self._by_key.values() if queue.group == group]

    def all_queues(self) -> Iterator[PopQueue]:
        return iter(self._by_key.values())

    def out(self, queue: PopQueue, offset: int) -> Out | None:
        """The message at this offset, when it is out and waits for an acknowledgement."""
        slot = queue.slots.get(offset)
        if slot is None or self._deadline[slot] == MOVED:
            return None
        return Out(queue, offset, self._pop_time[slot], self._deadline[slot])

    def out_of(self, queue: PopQueue, offsets: Iterable[int], pop_time: int) -> list[int]:
        """Those of the offsets whose messages wait under a handle with this pop time."""
        slots, pop_times, deadlines = queue.slots, self._pop_time, self._deadline
        return [
            offset
            for offset in offsets
            if (slot := slots.get(offset)) is not None and pop_times[slot] == pop_time and deadlines[slot] != MOVED
        ]

    @property
    def out_count(self) -> int:
        """Messages that wait for an acknowledgement or their deadline."""
        return self._timed

    @property
    def moved_count(self) -> int:
        """Messages appended again whose copies are not known to be on the disk."""
        return len(self._moved)

    @property
    def next_deadline(self) -> int | None:
        """When the first message that is out is due; None when none is. May be early, never late."""
        if self._ready:
            return self._ready_deadline
        return self._heap[0] if self._heap else None

    def take_due(self, now: int, count_max: int) -> list[Out]:
        """Up to `count_max` messages whose deadline has come, earliest first.

        The caller does something about each before it asks again: a MovedOp, an AckOp, or put_off().
        """
        found: dict[int, Out] = {}
        while len(found) < count_max:
            if not self._ready:
                if not self._heap or self._heap[0] > now:
                    break
                self._ready_deadline = heapq.heappop(self._heap)
                self._ready = self._buckets.pop(self._ready_deadline)
                self._ready.reverse()
            slot = self._ready.pop()
            self._bucketed -= 1
            if self._deadline[slot] == self._ready_deadline and slot not in found:
                queue = self.queues[self._queue[slot]]
                assert queue is not None
                found[slot] = Out(queue, self._offset[slot], self._pop_time[slot], self._ready_deadline)
        return list(found.values())

    def put_off(self, out: Out, deadline: int) -> None:
        """Nothing could be done about a due message now: it is due again then. Its handle stays as it is."""
        slot = out.queue.slots.get(out.offset)
        if slot is not None and self._deadline[slot] == out.deadline:
            self._deadline[slot] = deadline
            self._remember(slot, deadline)

    # -- as a whole

    @property
    def columns(self) -> tuple[array[int], array[int], array[int], array[int]]:
        """Queue number, offset, pop time and deadline of every slot."""
        return self._queue, self._offset, self._pop_time, self._deadline

    @property
    def moved(self) -> list[tuple[int, int, int]]:
        """Log end, queue number and offset of the copies that are not known to be on the disk."""
        return list(self._moved)

    def adopt(self, columns: Sequence[array[int]], moved: Iterable[tuple[int, int, int]]) -> None:
        """Takes the slots of an earlier ledger; its queues are there already."""
        self._queue, self._offset, self._pop_time, self._deadline = columns
        self._free = array("i")
        self._timed = 0
        for slot, deadline in enumerate(self._deadline):
            queue = self._known(self._queue[slot]) if deadline != FREE else None
            if queue is None:
                self._release(slot)
                continue
            queue.slots[self._offset[slot]] = slot
            self._timed += deadline != MOVED
        self._moved = deque((end, number, offset) for end, number, offset in moved)
        for queue in self._by_key.values():
            queue.note_all()
        self._rebuild()

    # -- changing

    def new_queue(self, topic: str, group: str, queue_id: int) -> QueueOp:
        """The operation that makes a queue known; find() knows it once it was applied."""
        return QueueOp(len(self.queues), topic, group, queue_id)

    def apply(self, op: Op) -> None:
        """Does one operation."""
        if isinstance(op, PopOp):
            self._pop(op)
        elif isinstance(op, AckOp):
            queue = self._known(op.queue)
            if queue is not None:
                self._done(queue, op.offsets)
        elif isinstance(op, ChangeOp):
            queue = self._known(op.queue)
            slot = None if queue is None else queue.slots.get(op.offset)
            if slot is not None and self._deadline[slot] != MOVED:
                self._pop_time[slot] = op.pop_time
                self._deadline[slot] = op.deadline
                self._remember(slot, op.deadline)
        elif isinstance(op, MovedOp):
            queue = self._known(op.queue)
            slot = None if queue is None else queue.slots.get(op.offset)
            if slot is not None and self._deadline[slot] != MOVED:
                self._deadline[slot] = MOVED
                self._timed -= 1
                self._moved.append((op.log_end, op.queue, op.offset))
        elif isinstance(op, QueueOp):
            while len(self.queues) <= op.queue:
                self.queues.append(None)
            queue = PopQueue(op.queue, op.topic, op.group, op.queue_id)
            self.queues[op.queue] = self._by_key[queue.key] = queue
        elif isinstance(op, OrderOp):
            queue = self._known(op.queue)
            if queue is not None:
                queue.committed = op.committed
                queue.order_info = op.info or None
        elif isinstance(op, DropOp):
            self._drop(op.queue)
        elif isinstance(op, OffsetsOp):
            self.own_offsets = [*self.own_offsets, (op.crc, op.size)][-OWN_OFFSETS_KEPT:]
        elif isinstance(op, TimeOp):
            self.time = max(self.time, op.now)
        else:
            assert isinstance(op, ChainOp)

    def settle(self, safe_log_offset: int) -> list[PopQueue]:
        """Copies below this offset are on the disk: their originals are done. Returns the queues that have moved."""
        moved: dict[int, PopQueue] = {}
        while self._moved and self._moved[0][0] <= safe_log_offset:
            _, number, offset = self._moved.popleft()
            queue = self._known(number)
            slot = None if queue is None else queue.slots.get(offset)
            if queue is not None and slot is not None and self._deadline[slot] == MOVED:
                del queue.slots[offset]
                self._release(slot)
                moved[number] = queue
        return list(moved.values())

    def after_restart(self, *, log_end: int, now: int, max_offset_of: dict[QueueKey, int]) -> None:
        """Fits what a journal told to the store as it is now.

        A copy above the log's end is gone: its original is due at once. Offsets at or above a queue's end are of messages a
        power cut took; others will have them. `now` is ledger time, which has not gone back.
        """
        self.settle(log_end)
        for _, number, offset in self._moved:
            queue = self._known(number)
            slot = None if queue is None else queue.slots.get(offset)
            if slot is not None and self._deadline[slot] == MOVED:
                self._deadline[slot] = now
                self._timed += 1
        self._moved.clear()
        for queue in self._by_key.values():
            end = max_offset_of[queue.key]
            queue.next = min(queue.next, end)
            for offset in [offset for offset in queue.slots if offset >= end]:
                self._take_back(queue, offset)
            queue.note_all()
        self._rebuild()

    # -- inside

    def _known(self, number: int) -> PopQueue | None:
        return self.queues[number] if 0 <= number < len(self.queues) else None

    def _pop(self, op: PopOp) -> None:
        queue = self._known(op.queue)
        if queue is None:
            return
        queue.next = op.next_offset
        slots, offsets = queue.slots, op.offsets
        if not offsets:
            queue.note(offsets)
            return
        deadline = op.deadline
        bucket = self._bucket(deadline)
        free = self._free
        for offset in offsets:
            if offset in slots:
                # Popped again after its group was set back: the earlier handle ends.
                self._take_back(queue, offset)
                moved = slots.pop(offset, None)
                if moved is not None:
                    self._release(moved)
            if free:
                slot = free.pop()
                self._queue[slot], self._offset[slot] = op.queue, offset
                self._pop_time[slot], self._deadline[slot] = op.pop_time, deadline
            else:
                slot = len(self._deadline)
                self._queue.append(op.queue)
                self._offset.append(offset)
                self._pop_time.append(op.pop_time)
                self._deadline.append(deadline)
            slots[offset] = slot
            bucket.append(slot)
        self._timed += len(offsets)
        self._bucketed += len(offsets)
        self._bound_buckets()
        queue.note(offsets)

    def _done(self, queue: PopQueue, offsets: Sequence[int]) -> None:
        """As _take_back() for each, which most messages go through once: written out, it is half the cost."""
        slots, deadlines, free = queue.slots, self._deadline, self._free
        taken = 0
        for offset in offsets:
            slot = slots.get(offset)
            if slot is None or deadlines[slot] == MOVED:
                continue
            del slots[offset]
            deadlines[slot] = FREE
            free.append(slot)
            taken += 1
        self._timed -= taken

    def _take_back(self, queue: PopQueue, offset: int) -> None:
        self._done(queue, (offset,))

    def _release(self, slot: int) -> None:
        self._deadline[slot] = FREE
        self._free.append(slot)

    def _remember(self, slot: int, deadline: int) -> None:
        self._bucket(deadline).append(slot)
        self._bucketed += 1
        self._bound_buckets()

    def _bucket(self, deadline: int) -> array[int]:
        """Where the slots of a deadline are, one of which is added by the caller."""
        bucket = self._buckets.get(deadline)
        if bucket is None:
            bucket = self._buckets[deadline] = array("i")
            heapq.heappush(self._heap, deadline)
        return bucket

    def _bound_buckets(self) -> None:
        if self._bucketed > 2 * self._timed + STALE_SLOTS_MIN:
            self._rebuild()

    def _rebuild(self) -> None:
        buckets: dict[int, array[int]] = {}
        count = 0
        for slot, deadline in enumerate(self._deadline):
            if deadline >= 0:
                bucket = buckets.get(deadline)
                if bucket is None:
                    bucket = buckets[deadline] = array("i")
                bucket.append(slot)
                count += 1
        self._buckets = buckets
        self._bucketed = count
        self._ready = array("i")
        self._heap = list(buckets)
        heapq.heapify(self._heap)

    def _drop(self, number: int) -> None:
        queue = self._known(number)
        if queue is None:
            return
        for slot in queue.slots.values():
            if self._deadline[slot] != MOVED:
                self._timed -= 1
            self._release(slot)
        queue.slots.clear()
        queue.note_all()
        self.queues[number] = None
        self._by_key.pop(queue.key, None)
