"""Pops and notifications that found nothing and wait for a message or their time-out.

Theory. A waiting request watches queues: the one it asked for, or all of its topic under one name, and those of its retry
topics. A message that becomes readable wakes one request a group and name, because one pop takes it. Woken requests are run
by the loop's next turn, since an arrival is told from inside the store's commit. A request leaves all its places at once, so
each wait ends exactly once.
Source: PopLongPollingService (5.3), whose 20 ms scan is a timer a request here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from gantry.runtime.clock import Clock, TimerHandle

from .arrival import Arrival
from .pull_request_hold import FILTER_CHARS_MAX, RESUMED_AT_ONCE, drop

log = logging.getLogger(__name__)

ALL_QUEUES = -1

Watched = tuple[str, int, int]
"""topic, queue id or -1 for all, and how many queues that are"""
PollingKey = tuple[str, str, int]
"""topic, group and queue id as asked for, -1 for all"""


class HeldPop:
    """One waiting request.

    `matches` is the filter over tag hashes, `record_filter` the one over properties (None: every message), `filter_chars` the
    length of their expression; `watched` the queues it waits for. Units: deadline_ms on the monotonic clock.
    """

    __slots__ = (
        "channel_id",
        "context",
        "deadline_ms",
        "filter_chars",
        "header",
        "key",
        "matches",
        "record_filter",
        "request",
        "timer",
        "watched",
    )

    def __init__(
        self,
        *,
        context: Any,
        request: Any,
        header: Any,
        channel_id: int,
        key: PollingKey,
        watched: Iterable[Watched],
        matches: Callable[[int], bool] | None,
        deadline_ms: int,
        record_filter: Any = None,
        filter_chars: int = 0,
    ) -> None:
        self.context = context
        self.request = request
        self.header = header
        self.channel_id = channel_id
        self.key = key
        self.watched = tuple(dict.fromkeys(watched))
        self.matches = matches
        self.record_filter = record_filter
        self.deadline_ms = deadline_ms
        self.filter_chars = filter_chars
        self.timer: TimerHandle | None = None


class PopHold:
    """The waiting requests of one kind.

    `resume(held, expired)` runs a request again. `on_watch(topic, queue id, watched)` is told when the first request begins to
    wait for a queue and when the last one has left. At most `count_max` wait, `count_per_key_max` for one key, with at most
    FILTER_CHARS_MAX of expressions; hold() answers False beyond that.
    """

    def __init__(self, clock: Clock, *, count_max: int, count_per_key_max: int) -> None:
        self._clock = clock
        self._count_max = count_max
        self._count_per_key_max = count_per_key_max
        self._keys: dict[PollingKey, dict[HeldPop, None]] = {}
        self._queues: dict[tuple[str, int], dict[str, dict[HeldPop, None]]] = {}
        self._widths: dict[str, int] = {}
        """How many queues of a topic are watched for those who wait for all of them."""
        self._channels: dict[int, dict[HeldPop, None]] = {}
        self._ready: deque[tuple[HeldPop, bool]] = deque()
        self._scheduled = False
        self._count = 0
        self._filter_chars = 0
        self._closed = False
        self.resume: Callable[[HeldPop, bool], None] = _nobody
        self.on_watch: Callable[[str, int, bool], None] = lambda topic, queue_id, watched: None

    @property
    def count(self) -> int:
        """Requests waiting now."""
        return self._count

    def count_of(self, key: PollingKey) -> int:
        """Requests waiting for this topic, group and queue id, as they asked for it."""
        return len(self._keys.get(key, ()))

    @property
    def is_full(self) -> bool:
        return self._count >= self._count_max

    def hold(self, held: HeldPop) -> bool:
        """Lets a request wait; False when no more may."""
        if self._closed or self.is_full or self.count_of(held.key) > self._count_per_key_max:
            return False
        if self._filter_chars + held.filter_chars > FILTER_CHARS_MAX:
            return False
        self._keys.setdefault(held.key, {})[held] = None
        self._channels.setdefault(held.channel_id, {})[held] = None
        group = held.key[1]
        for topic, queue_id, count in held.watched:
            groups = self._queues.setdefault((topic, queue_id), {})
            self._watch(topic, queue_id, count, first=not groups)
            groups.setdefault(group, {})[held] = None
        self._count += 1
        self._filter_chars += held.filter_chars
        held.timer = self._clock.call_later(max(held.deadline_ms - self._clock.monotonic_ms(), 0), self._expire, held)
        return True

    def message_arrived(self, topic: str, queue_id: int, tags_code: int, properties: bytes = b"") -> None:
        """A message became readable. Called by the store, per message of a watched queue."""
        arrival: Arrival | None = None
        for key in ((topic, ALL_QUEUES), (topic, queue_id)):
            for waiting in list(self._queues.get(key, {}).values()):
                for held in waiting:
                    if held.matches is not None and not held.matches(tags_code):
                        continue
                    if held.record_filter is not None:
                        if arrival is None:
                            arrival = Arrival(properties)
                        if not arrival.is_for(held.record_filter):
                            continue
                    self._wake(held)
                    break

    def wake_one(self, topic: str, group: str, queue_id: int) -> bool:
        """Runs one request of the group that waits for this queue, or for all (-1); False when none does."""
        for key in ((topic, group, queue_id), (topic, group, ALL_QUEUES)):
            for held in self._keys.get(key, ()):
                self._wake(held)
                return True
        return False

    def channel_closed(self, channel_id: int) -> None:
        """Nobody is there to be answered."""
        for held in list(self._channels.get(channel_id, ())):
            self._remove(held)

    def close(self) -> None:
        """Answers every waiting request as if its time were over; no further one may wait."""
        self._closed = True
        for waiting in list(self._keys.values()):
            for held in list(waiting):
                self._wake(held, expired=True)
        while self._ready:
            self.resume(*self._ready.popleft())

    def _expire(self, held: HeldPop) -> None:
        if held in self._keys.get(held.key, ()):
            self._wake(held, expired=True)

    def _wake(self, held: HeldPop, *, expired: bool = False) -> None:
        self._remove(held)
        self._ready.append((held, expired))
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run_ready)

    def _run_ready(self) -> None:
        self._scheduled = False
        for _ in range(min(len(self._ready), RESUMED_AT_ONCE)):
            self.resume(*self._ready.popleft())
        if self._ready and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run_ready)

    def _remove(self, held: HeldPop) -> None:
        if held.timer is not None:
            held.timer.cancel()
            held.timer = None
        drop(self._keys, held.key, held)
        drop(self._channels, held.channel_id, held)
        group = held.key[1]
        for topic, queue_id, _ in held.watched:
            groups = self._queues[topic, queue_id]
            drop(groups, group, held)
            if not groups:
                del self._queues[topic, queue_id]
                self._unwatch(topic, queue_id)
        self._count -= 1
        self._filter_chars -= held.filter_chars

    def _watch(self, topic: str, queue_id: int, count: int, *, first: bool) -> None:
        if queue_id != ALL_QUEUES:
            if first:
                self.on_watch(topic, queue_id, True)
            return
        known = self._widths.get(topic, 0)
        for each in range(known, count):
            self.on_watch(topic, each, True)
        self._widths[topic] = max(known, count)

    def _unwatch(self, topic: str, queue_id: int) -> None:
        if queue_id != ALL_QUEUES:
            self.on_watch(topic, queue_id, False)
            return
        for each in range(self._widths.pop(topic, 0)):
            self.on_watch(topic, each, False)


def _nobody(held: HeldPop, expired: bool) -> None:
    log.error("a held request of %s has nobody to run it", held.key)
