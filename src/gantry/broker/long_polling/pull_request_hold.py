"""Pull requests that found nothing and wait for a message or their time-out.

Theory. A held pull is in three places: with its queue (to be found by an arrival), with its connection (to be dropped
when that closes) and in a slot of the time wheel (to be found when its time is over). Leaving takes it out of all three
at once, so each hold ends exactly once. Woken pulls are run later, some at a time: an arrival is told from inside the
store's commit, where no read may start, and it may wake very many. The hot path has them run as soon as its commit is over,
the next turns of the loop run what is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from gantry.runtime.clock import Clock, TimerHandle

from .arrival import Arrival

K = TypeVar("K")
H = TypeVar("H")

log = logging.getLogger(__name__)

WHEEL_SLOT_MS = 100
"""Precision of expiry: a pull is answered at most this much late."""

RESUMED_AT_ONCE = 200
"""Pulls run again before others have their turn."""

FILTER_CHARS_MAX = 8 * 1024 * 1024
"""Expressions of all waiting pulls together; as sets of hashes they take up to thirty times as much."""


class HeldPull:
    """One waiting pull.

    `matches` is the subscription's filter over tag hashes, `record_filter` the one over properties (None: every message);
    `offset` the queue entry it waits for. `filter_chars` is the length of its expression.
    Units: deadline_ms on the monotonic clock.
    """

    __slots__ = (
        "channel_id",
        "context",
        "deadline_ms",
        "filter_chars",
        "header",
        "matches",
        "offset",
        "queue",
        "record_filter",
        "request",
        "slot",
    )

    def __init__(
        self,
        *,
        context: Any,
        request: Any,
        header: Any,
        channel_id: int,
        topic: str,
        queue_id: int,
        offset: int,
        matches: Callable[[int], bool] | None,
        deadline_ms: int,
        filter_chars: int = 0,
        record_filter: Any = None,
    ) -> None:
        self.context = context
        self.request = request
        self.header = header
        self.channel_id = channel_id
        self.queue = (topic, queue_id)
        self.offset = offset
        self.matches = matches
        self.deadline_ms = deadline_ms
        self.filter_chars = filter_chars
        self.record_filter = record_filter
        self.slot = -1


class PullRequestHold:
    """The waiting pulls of this broker.

    `resume(held, expired)` runs a pull again; it is set by the pull processor. `short_way(held)` gives the frame of the answer
    when the engine of the hot path can; `resume` asks it first. `on_watch(topic, queue id, watched)` is told
    when the first pull begins to wait for a queue and when the last one has left. At most `count_max` pulls wait, with at
    most FILTER_CHARS_MAX of expressions; hold() answers False beyond that.
    Source: PullRequestHoldService (5.3), whose 5 s scan the wheel replaces.
    """

    def __init__(self, clock: Clock, *, count_max: int) -> None:
        self._clock = clock
        self._count_max = count_max
        self._queues: dict[tuple[str, int], dict[HeldPull, None]] = {}
        self._channels: dict[int, dict[HeldPull, None]] = {}
        self._wheel: dict[int, dict[HeldPull, None]] = {}
        self._timer: TimerHandle | None = None
        self.ready: deque[tuple[HeldPull, bool]] = deque()
        """Pulls that were woken and not run yet."""
        self._scheduled = False
        self._count = 0
        self._filter_chars = 0
        self._closed = False
        self.resume: Callable[[HeldPull, bool], None] = _nobody
        self.short_way: Callable[[HeldPull], bytes | None] = lambda held: None
        self.on_watch: Callable[[str, int, bool], None] = lambda topic, queue_id, watched: None

    @property
    def count(self) -> int:
        """Pulls waiting now."""
        return self._count

    def hold(self, held: HeldPull) -> bool:
        """Lets a pull wait; False when no more may."""
        if self._closed or self._count >= self._count_max or self._filter_chars + held.filter_chars > FILTER_CHARS_MAX:
            return False
        held.slot = -(-held.deadline_ms // WHEEL_SLOT_MS)
        waiting = self._queues.get(held.queue)
        if waiting is None:
            waiting = self._queues[held.queue] = {}
            self.on_watch(*held.queue, True)
        waiting[held] = None
        self._channels.setdefault(held.channel_id, {})[held] = None
        self._wheel.setdefault(held.slot, {})[held] = None
        self._count += 1
        self._filter_chars += held.filter_chars
        if self._timer is None:
            self._set_timer()
        return True

    def message_arrived(
        self,
        topic: str,
        queue_id: int,
        next_offset: int,
        tags_code: int,
        store_timestamp: int = 0,
        properties: bytes = b"",
    ) -> None:
        """A message became readable; `next_offset` is the queue's end behind it. Called by the store, per message."""
        waiting = self._queues.get((topic, queue_id))
        if waiting is None:
            return
        woken = [held for held in waiting if next_offset > held.offset and (held.matches is None or held.matches(tags_code))]
        arrival: Arrival | None = None
        for held in woken:
            if held.record_filter is not None:
                if arrival is None:
                    arrival = Arrival(properties)
                if not arrival.is_for(held.record_filter):
                    continue
            self._wake(held)

    def wake_queue(self, topic: str, queue_id: int) -> None:
        """Runs every pull of a queue again: something about it changed (offset reset, topic deleted)."""
        for held in list(self._queues.get((topic, queue_id), ())):
            self._wake(held)

    def channel_closed(self, channel_id: int) -> None:
        """Nobody is there to be answered."""
        for held in list(self._channels.get(channel_id, ())):
            self._remove(held)

    def run_ready(self) -> None:
        """Runs the pulls that a commit has woken, now that it is over; the next turns of the loop would do it otherwise."""
        for _ in range(min(len(self.ready), RESUMED_AT_ONCE)):
            self.resume(*self.ready.popleft())

    def close(self) -> None:
        """Answers every waiting pull as if its time were over; no further one may wait."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for waiting in list(self._queues.values()):
            for held in list(waiting):
                self._wake(held, expired=True)
        while self.ready:
            self.resume(*self.ready.popleft())

    def _wake(self, held: HeldPull, *, expired: bool = False) -> None:
        self._remove(held)
        self.ready.append((held, expired))
        self._schedule()

    def _run_ready(self) -> None:
        self._scheduled = False
        self.run_ready()
        if self.ready:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run_ready)

    def _remove(self, held: HeldPull) -> None:
        drop(self._queues, held.queue, held)
        if held.queue not in self._queues:
            self.on_watch(*held.queue, False)
        drop(self._channels, held.channel_id, held)
        drop(self._wheel, held.slot, held)
        self._count -= 1
        self._filter_chars -= held.filter_chars

    def _set_timer(self) -> None:
        now = self._clock.monotonic_ms()
        self._timer = self._clock.call_later(WHEEL_SLOT_MS - now % WHEEL_SLOT_MS, self._expire)

    def _expire(self) -> None:
        self._timer = None
        slot = self._clock.monotonic_ms() // WHEEL_SLOT_MS
        for due in [number for number in self._wheel if number <= slot]:
            for held in list(self._wheel.get(due, ())):
                self._wake(held, expired=True)
        if self._wheel and self._timer is None and not self._closed:
            self._set_timer()


def drop(table: dict[K, dict[H, None]], key: K, held: H) -> None:
    """Takes a waiting request out of one of its places, and the place away when it was the last there."""
    members = table[key]
    del members[held]
    if not members:
        del table[key]


def _nobody(held: HeldPull, expired: bool) -> None:
    log.error("a held pull of %s queue %d has nobody to run it", *held.queue)
