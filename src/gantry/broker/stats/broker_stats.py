"""What the broker counts: puts and gets by topic, group and queue; totals; rates.

Recording is a few additions on plain integers, called inline on the hot path; rates and windows are computed when
somebody asks. Keys are the official ones, so code 315 and `statsAll` find them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from gantry.model import topic_validator
from gantry.runtime.clock import Clock, TimerHandle

from .latency_histogram import LatencyHistogram
from .stats_item import DAY_INTERVAL_MS, HOUR_INTERVAL_MS, MINUTE_INTERVAL_MS, StatsItem
from .tps import SAMPLE_INTERVAL_MS, Totals, TpsSampler

TOPIC_PUT_NUMS = "TOPIC_PUT_NUMS"
TOPIC_PUT_SIZE = "TOPIC_PUT_SIZE"
GROUP_GET_NUMS = "GROUP_GET_NUMS"
GROUP_GET_SIZE = "GROUP_GET_SIZE"
SNDBCK_PUT_NUMS = "SNDBCK_PUT_NUMS"
DLQ_PUT_NUMS = "DLQ_PUT_NUMS"
BROKER_PUT_NUMS = "BROKER_PUT_NUMS"
BROKER_GET_NUMS = "BROKER_GET_NUMS"
BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC = "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC"
BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC = "BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC"
GROUP_ACK_NUMS = "GROUP_ACK_NUMS"
GROUP_CK_NUMS = "GROUP_CK_NUMS"
BROKER_ACK_NUMS = "BROKER_ACK_NUMS"
BROKER_CK_NUMS = "BROKER_CK_NUMS"
QUEUE_PUT_NUMS = "QUEUE_PUT_NUMS"
QUEUE_PUT_SIZE = "QUEUE_PUT_SIZE"
QUEUE_GET_NUMS = "QUEUE_GET_NUMS"
QUEUE_GET_SIZE = "QUEUE_GET_SIZE"

STATS_NAMES = (
    TOPIC_PUT_NUMS, TOPIC_PUT_SIZE, GROUP_GET_NUMS, GROUP_GET_SIZE, SNDBCK_PUT_NUMS, DLQ_PUT_NUMS,
    BROKER_PUT_NUMS, BROKER_GET_NUMS, BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC,
    BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC, GROUP_ACK_NUMS, GROUP_CK_NUMS, BROKER_ACK_NUMS, BROKER_CK_NUMS,
    QUEUE_PUT_NUMS, QUEUE_PUT_SIZE, QUEUE_GET_NUMS, QUEUE_GET_SIZE,
)  # fmt: skip

SAMPLED_AT_ONCE = 1_000
"""Counters sampled before others have their turn."""

ITEM_IDLE_MS_MAX = 25 * DAY_INTERVAL_MS
"""A counter silent for longer than its longest window shows zeros everywhere; it is dropped, and made anew if needed."""


class HotCounts(Protocol):
    """Counts kept where the hot path is, until they are taken."""

    def take_totals(self) -> Sequence[int]:
        """Messages, bytes and requests; messages and requests of system topics among them."""

    def take_counts(self) -> Iterable[tuple[str, int, int, int, int]]:
        """Topic, queue id, messages, bytes and requests, a row a queue; not those of the totals again."""

    def take_gets(self) -> Iterable[tuple[str, str, int, int, int, int]]:
        """Group, topic, queue id, messages, bytes and requests of what was handed out, a row a group and queue."""


class _Counted:
    """Messages and bytes stored in a topic, or handed from it to a group."""

    __slots__ = ("by_queue", "nums", "size", "system")

    def __init__(self, nums: StatsItem, size: StatsItem, *, system: bool) -> None:
        self.nums = nums
        self.size = size
        self.system = system
        self.by_queue: dict[int, tuple[StatsItem, StatsItem]] = {}


class BrokerStats:
    """Counters of one broker. Source: BrokerStatsManager, BrokerStats, StoreStatsService (5.3).

    `topic_put` and `group_get` take what one request stored or handed out. Units: count in messages, size in bytes
    of whole records, elapsed in ms.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        cluster_name: str,
        queue_stats: bool = True,
        is_system_topic: Callable[[str], bool] = topic_validator.is_system_topic,
    ) -> None:
        self._clock = clock
        self._is_system_topic = is_system_topic
        self._queue_stats = queue_stats
        self._tables: dict[str, dict[str, StatsItem]] = {name: {} for name in STATS_NAMES}
        self._topic_puts: dict[str, _Counted] = {}
        self._group_gets: dict[tuple[str, str], _Counted] = {}
        self._broker_put = self._item(BROKER_PUT_NUMS, cluster_name)
        self._broker_get = self._item(BROKER_GET_NUMS, cluster_name)
        self._broker_put_user = self._item(BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC, cluster_name)
        self._broker_get_user = self._item(BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC, cluster_name)
        self._pinned = {id(i) for i in (self._broker_put, self._broker_get, self._broker_put_user, self._broker_get_user)}
        self.put_failed = 0
        self.put_latency = LatencyHistogram()
        self.put_elapsed_max_ms = 0
        self._get_found_times = 0
        self.get_miss_times = 0
        self.boot_timestamp = clock.now_ms()
        self._boot_monotonic_ms = clock.monotonic_ms()
        self._sampler = TpsSampler(monotonic_ms=self._boot_monotonic_ms)
        self._put_size_total = 0
        self._day = self._day_of(self.boot_timestamp)
        self.put_total_yesterday_morning = 0
        self.put_total_today_morning = 0
        self.get_total_yesterday_morning = 0
        self.get_total_today_morning = 0
        self._timers: dict[str, TimerHandle] = {}
        self.hot: HotCounts | None = None
        """What the hot path counts itself; its counts are taken over before anybody looks."""
        self._rows: deque[tuple[str, int, int, int, int]] = deque()
        self.on_hot_get: Callable[[str, str, int, int, int, int], None] = lambda group, topic, queue_id, count, size, times: (
            None
        )
        """Told of the pulls that the hot path has answered, with what take_gets() says of each queue."""

    # -- recording

    def topic_put(self, topic: str, queue_id: int, count: int, size: int, times: int = 1) -> None:
        """`count` messages of together `size` bytes were stored by `times` requests."""
        user = not self._queue_put(topic, queue_id, count, size, times).system
        self._all_puts(count, size, times, count * user, times * user)

    def _all_puts(self, count: int, size: int, times: int, user_count: int, user_times: int) -> None:
        self._put_size_total += size
        self._broker_put.add(count, times)
        self._broker_put_user.add(user_count, user_times)

    def _queue_put(self, topic: str, queue_id: int, count: int, size: int, times: int) -> _Counted:
        put = self._topic_puts.get(topic)
        if put is None:
            put = self._topic_puts[topic] = _Counted(
                self._item(TOPIC_PUT_NUMS, topic), self._item(TOPIC_PUT_SIZE, topic), system=self._is_system_topic(topic)
            )
        put.nums.add(count, times)
        put.size.add(size, times)
        if self._queue_stats:
            self._of_queue(put, queue_id, count, size, times, (QUEUE_PUT_NUMS, QUEUE_PUT_SIZE), f"{topic}@{queue_id}")
        return put

    def _of_queue(
        self, counted: _Counted, queue_id: int, count: int, size: int, times: int, names: tuple[str, str], key: str
    ) -> None:
        queue = counted.by_queue.get(queue_id)
        if queue is None:
            queue = counted.by_queue[queue_id] = (self._item(names[0], key), self._item(names[1], key))
        queue[0].add(count, times)
        queue[1].add(size, times)

    def put_elapsed(self, elapsed_ms: int, count: int) -> None:
        """The store took so long to accept one request, or one batch of them, with `count` messages."""
        if not elapsed_ms:
            self.put_latency.counts[0] += count  # as nearly always
            return
        if elapsed_ms > self.put_elapsed_max_ms:
            self.put_elapsed_max_ms = elapsed_ms
        self.put_latency.add(elapsed_ms, count)

    def put_failure(self, count: int = 1) -> None:
        """Messages that the store did not accept."""
        self.put_failed += count

    def group_get(self, group: str, topic: str, queue_id: int, count: int, size: int, times: int = 1) -> None:
        """`count` messages of together `size` bytes were handed to a group by `times` requests."""
        get = self._group_gets.get((topic, group))
        if get is None:
            key = f"{topic}@{group}"
            get = self._group_gets[(topic, group)] = _Counted(
                self._item(GROUP_GET_NUMS, key), self._item(GROUP_GET_SIZE, key), system=self._is_system_topic(topic)
            )
        get.nums.add(count, times)
        get.size.add(size, times)
        self._get_found_times += times
        self._broker_get.add(count, times)
        if not get.system:
            self._broker_get_user.add(count, times)
        if self._queue_stats:
            self._of_queue(get, queue_id, count, size, times, (QUEUE_GET_NUMS, QUEUE_GET_SIZE), f"{topic}@{queue_id}@{group}")

    def get_miss(self) -> None:
        """A pull found nothing."""
        self.get_miss_times += 1

    def send_back(self, group: str, topic: str) -> None:
        """A consumer gave a message back for later."""
        self._item(SNDBCK_PUT_NUMS, f"{topic}@{group}").add(1)

    def dlq(self, group: str, topic: str) -> None:
        """A message went to the group's dead letters."""
        self._item(DLQ_PUT_NUMS, f"{topic}@{group}").add(1)

    # -- what the hot path has counted

    def settle_totals(self) -> None:
        """What all topics have together, and what was handed out; few look at more."""
        if self.hot is not None:
            for row in self.hot.take_gets():
                self.group_get(*row)
                self.on_hot_get(*row)
            count, size, times, system_count, system_times = self.hot.take_totals()
            if times:
                self._all_puts(count, size, times, count - system_count, times - system_times)

    def _settle(self) -> None:
        """All of it, at once."""
        self._take()
        while self._rows:
            self._queue_put(*self._rows.popleft())

    def _take(self) -> None:
        """Totals at once, and the rows of the queues for those who settle them."""
        self.settle_totals()
        if self.hot is not None:
            self._rows += self.hot.take_counts()

    # -- asking

    def find(self, name: str, key: str) -> StatsItem | None:
        """The counter of an official name and key; None when nothing was counted under it."""
        self._settle()
        return self._tables.get(name, {}).get(key)

    def topic_put_tps(self, topic: str) -> float:
        """Messages per second stored in the topic over the last minute."""
        item = self.find(TOPIC_PUT_NUMS, topic)
        return 0.0 if item is None else item.minute().tps

    def group_get_tps(self, group: str, topic: str) -> float:
        """Messages per second handed to the group from the topic over the last minute."""
        item = self.find(GROUP_GET_NUMS, f"{topic}@{group}")
        return 0.0 if item is None else item.minute().tps

    @property
    def put_total(self) -> int:
        """Messages stored since the start."""
        self.settle_totals()
        return self._broker_put.value

    @property
    def get_total(self) -> int:
        """Messages handed out since the start."""
        self.settle_totals()
        return self._broker_get.value

    @property
    def user_put_total(self) -> int:
        """Messages stored since the start in topics that are not the system's. Source: BrokerStats (5.5)."""
        self.settle_totals()
        return self._broker_put_user.value

    @property
    def user_get_total(self) -> int:
        """Messages handed out since the start from topics that are not the system's."""
        self.settle_totals()
        return self._broker_get_user.value

    @property
    def totals(self) -> Totals:
        self.settle_totals()
        return Totals(
            put_times=self.put_total,
            put_failed=self.put_failed,
            put_size=self._put_size_total,
            get_found=self._get_found_times,
            get_miss=self.get_miss_times,
            get_transferred=self.get_total,
        )

    @property
    def uptime_ms(self) -> int:
        return self._clock.monotonic_ms() - self._boot_monotonic_ms

    def rates_text(self, *names: str) -> str:
        """Rates of counters of `Totals` over 10, 60 and 600 s, as one text."""
        return self._sampler.rates_text(*names)

    # -- forgetting

    def topic_deleted(self, topic: str) -> None:
        """Drops the counters that speak of a topic."""
        self._settle()
        self._topic_puts.pop(topic, None)
        for pair in [pair for pair in self._group_gets if pair[0] == topic]:
            del self._group_gets[pair]
        for name, table in self._tables.items():
            if not name.startswith("BROKER_"):
                for key in [key for key in table if f"{key}@".startswith(f"{topic}@")]:
                    del table[key]

    def group_deleted(self, group: str) -> None:
        """Drops the counters that speak of a consumer group."""
        self._settle()
        for pair in [pair for pair in self._group_gets if pair[1] == group]:
            del self._group_gets[pair]
        for name, table in self._tables.items():
            if not name.startswith(("BROKER_", "TOPIC_", "QUEUE_PUT_")):
                for key in [key for key in table if key.endswith(f"@{group}")]:
                    del table[key]

    # -- time

    def start(self) -> None:
        """Begins to take samples."""
        self._every("second", SAMPLE_INTERVAL_MS, self._sample_second)
        self._every("minute", MINUTE_INTERVAL_MS, self._sample_minute)
        self._every("hour", HOUR_INTERVAL_MS, self._sample_hour)
        self._every("day", DAY_INTERVAL_MS, self._sample_day)

    def shutdown(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _every(self, name: str, interval_ms: int, sample: Callable[[], None]) -> None:
        def run() -> None:
            self._timers[name] = self._clock.call_later(interval_ms, run)
            sample()

        self._timers[name] = self._clock.call_later(interval_ms, run)

    def _sample_second(self) -> None:
        self._sampler.sample(self._clock.monotonic_ms(), self.totals)
        today = self._day_of(self._clock.now_ms())
        if today != self._day:
            self._day = today
            self.put_total_yesterday_morning = self.put_total_today_morning
            self.put_total_today_morning = self.user_put_total
            self.get_total_yesterday_morning = self.get_total_today_morning
            self.get_total_today_morning = self.user_get_total

    def _sample_minute(self) -> None:
        self._sample_all(StatsItem.sample_minute)

    def _sample_hour(self) -> None:
        self._sample_all(StatsItem.sample_hour)

    def _sample_day(self) -> None:
        self._sample_all(StatsItem.sample_day)
        self._drop_idle(self._clock.monotonic_ms())

    def _sample_all(self, sample: Callable[[StatsItem, int], None]) -> None:
        """Ten thousands of queues have counters: some at a time, so that nobody waits for it."""
        self._take()
        self._settle_some(sample)

    def _settle_some(self, sample: Callable[[StatsItem, int], None]) -> None:
        for _ in range(min(len(self._rows), SAMPLED_AT_ONCE)):
            self._queue_put(*self._rows.popleft())
        if self._rows:
            self._clock.call_later(0, self._settle_some, sample)
            return
        items = iter([item for table in self._tables.values() for item in table.values()])
        self._sample_some(items, sample, self._clock.monotonic_ms())

    def _sample_some(self, items: Iterator[StatsItem], sample: Callable[[StatsItem, int], None], now_ms: int) -> None:
        for item in islice(items, SAMPLED_AT_ONCE):
            sample(item, now_ms)
        if items.__length_hint__():  # type: ignore[attr-defined]
            self._clock.call_later(0, self._sample_some, items, sample, now_ms)

    def _drop_idle(self, now: int) -> None:
        for table in self._tables.values():
            for key, item in list(table.items()):
                if now - item.last_update_ms > ITEM_IDLE_MS_MAX and id(item) not in self._pinned:
                    del table[key]
        # The short ways to dropped counters go too, or a later event would be counted where nobody looks.
        for topic, put in list(self._topic_puts.items()):
            if topic not in self._tables[TOPIC_PUT_NUMS] or any(
                f"{topic}@{queue}" not in self._tables[QUEUE_PUT_NUMS] for queue in put.by_queue
            ):
                del self._topic_puts[topic]
        for (topic, group), get in list(self._group_gets.items()):
            if f"{topic}@{group}" not in self._tables[GROUP_GET_NUMS] or any(
                f"{topic}@{queue}@{group}" not in self._tables[QUEUE_GET_NUMS] for queue in get.by_queue
            ):
                del self._group_gets[(topic, group)]

    # -- inside

    def _item(self, name: str, key: str) -> StatsItem:
        table = self._tables[name]
        item = table.get(key)
        if item is None:
            item = table[key] = StatsItem(self._clock.monotonic_ms())
        return item

    @staticmethod
    def _day_of(now_ms: int) -> tuple[int, int]:
        local = time.localtime(now_ms / 1000)
        return local.tm_year, local.tm_yday
