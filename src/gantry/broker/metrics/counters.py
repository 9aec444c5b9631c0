"""What the exporter shows and nobody else counts: plain integers, cumulative since the start.

Each is added to where the thing happens, once a request. The common sends are counted by the engine of the hot path itself,
once a plan and topic; they are taken over when somebody looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gantry.model import message_const, names

if TYPE_CHECKING:
    from collections.abc import Mapping

NORMAL, FIFO, DELAY, TRANSACTION = "normal", "fifo", "delay", "transaction"
"""Kinds of messages. Source: TopicMessageType.getMetricsValue (5.5)."""

HOT_KINDS = (NORMAL, FIFO, DELAY, TRANSACTION)
"""As the hot path numbers them."""

SIZE_BOUNDS = (1024, 4096, 512 << 10, 1 << 20, 2 << 20, 4 << 20)
RPC_BOUNDS_MS = (1, 3, 5, 7, 10, 100, 1000, 2000, 3000)
CREATE_BOUNDS_MS = (10, 100, 1000, 3000, 5000)
DELAY_BOUNDS_S = (60, 600, 3600, 43_200, 86_400, 259_200)

_DELAYS = (
    "__STARTDELIVERTIME",
    message_const.DELAY_TIME_LEVEL,
    message_const.TIMER_DELIVER_MS,
    message_const.TIMER_DELAY_SEC,
    message_const.TIMER_DELAY_MS,
)


class Histogram:
    """Counts by upper bound (the last: above all of them), and the sum of what was recorded."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0

    def record(self, value: int, count: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value) if value else 0] += count
        self.sum += value * count


class InCounts:
    """Messages of a kind that came into a topic. `sizes` has one entry a request: the mean record of a batch."""

    __slots__ = ("bytes", "messages", "sizes")

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.sizes = Histogram(SIZE_BOUNDS)


class OutCounts:
    """Messages that went out."""

    __slots__ = ("bytes", "messages")

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0


class OutKey(NamedTuple):
    """`is_retry` is told for pops only, as in the original."""

    topic: str
    group: str
    is_retry: bool | None


class RpcKey(NamedTuple):
    request_code: int
    response_code: int
    long_polling: bool
    result: str


class HotIns(Protocol):
    """Common sends since the last call: topic, place of the kind in HOT_KINDS, messages, bytes, sum of the requests' mean
    sizes, requests by SIZE_BOUNDS."""

    def take_ins(self) -> Iterable[tuple[str, int, int, int, int, Sequence[int]]]: ...


class MetricsCounters:
    """Source: BrokerMetricsManager, RemotingMetricsManager, PopMetricsManager, DefaultStoreMetricsManager (5.5)."""

    def __init__(self) -> None:
        self.ins: dict[tuple[str, str], InCounts] = {}
        self.outs: dict[OutKey, OutCounts] = {}
        self.dlq: dict[tuple[str, str], int] = {}
        """By group and topic."""
        self.rpc: dict[RpcKey, Histogram] = {}
        self.topic_creations: dict[tuple[bool, bool], Histogram] = {}
        """By success, and whether it is a system topic."""
        self.group_creations: dict[bool, Histogram] = {}
        self.pop_retries: dict[tuple[str, str], int] = {}
        """By group and topic: popped messages that were given back."""
        self.timers_entered: dict[str, int] = {}
        self.timers_fired: dict[str, int] = {}
        self.timer_delays: dict[str, Histogram] = {}
        self.hot: HotIns | None = None
        self.settle_outs: Callable[[], object] = lambda: None
        """Has the hot path's counts of pulls brought here."""

    def message_in(self, topic: str, kind: str, count: int, size: int) -> None:
        """One request stored `count` messages of together `size` bytes. Retries and dead letters are nobody's news."""
        if not is_retry_or_dlq(topic):
            self.copy_in(topic, kind, count, size)

    def copy_in(self, topic: str, kind: str, count: int, size: int) -> None:
        """As message_in(), whatever the topic."""
        counts = self._ins(topic, kind)
        counts.messages += count
        counts.bytes += size
        counts.sizes.record(size // count if count else 0)

    def pulled(self, group: str, topic: str, queue_id: int, count: int, size: int, times: int = 1) -> None:
        if not is_retry_or_dlq(topic):
            self.message_out(OutKey(topic, group, None), count, size)

    def popped(self, group: str, topic: str, count: int, size: int, *, is_retry: bool) -> None:
        self.message_out(OutKey(topic, group, is_retry), count, size)

    def message_out(self, key: OutKey, count: int, size: int) -> None:
        counts = self.outs.get(key)
        if counts is None:
            counts = self.outs[key] = OutCounts()
        counts.messages += count
        counts.bytes += size

    def dead_letter(self, group: str, topic: str) -> None:
        self.dlq[group, topic] = self.dlq.get((group, topic), 0) + 1

    def pop_retried(self, group: str, topic: str) -> None:
        self.pop_retries[group, topic] = self.pop_retries.get((group, topic), 0) + 1

    def timer_entered(self, topic: str, delay_ms: int) -> None:
        self.timers_entered[topic] = self.timers_entered.get(topic, 0) + 1
        delays = self.timer_delays.get(topic)
        if delays is None:
            delays = self.timer_delays[topic] = Histogram(DELAY_BOUNDS_S)
        delays.record(max(delay_ms, 0) // 1000)

    def timer_fired(self, topic: str) -> None:
        self.timers_fired[topic] = self.timers_fired.get(topic, 0) + 1

    def answered(self, key: RpcKey, elapsed_ms: int, count: int = 1) -> None:
        self.histogram(key).record(elapsed_ms, count)

    def histogram(self, key: RpcKey) -> Histogram:
        """Where the times of such answers are counted."""
        histogram = self.rpc.get(key)
        if histogram is None:
            histogram = self.rpc[key] = Histogram(RPC_BOUNDS_MS)
        return histogram

    def topic_created(self, elapsed_ms: int, *, ok: bool, system: bool) -> None:
        self.topic_creations.setdefault((ok, system), Histogram(CREATE_BOUNDS_MS)).record(elapsed_ms)

    def group_created(self, elapsed_ms: int, *, ok: bool) -> None:
        self.group_creations.setdefault(ok, Histogram(CREATE_BOUNDS_MS)).record(elapsed_ms)

    def settle(self) -> None:
        """Takes over what the hot path has counted."""
        self.settle_outs()
        for topic, kind, messages, size, mean_sum, sizes in self.hot.take_ins() if self.hot is not None else ():
            counts = self._ins(topic, HOT_KINDS[kind])
            counts.messages += messages
            counts.bytes += size
            counts.sizes.sum += mean_sum
            for at, count in enumerate(sizes):
                counts.sizes.counts[at] += count

    def topic_deleted(self, topic: str) -> None:
        self.settle()
        for key in [key for key in self.ins if key[0] == topic]:
            del self.ins[key]
        for out in [out for out in self.outs if out.topic == topic]:
            del self.outs[out]
        for pairs in (self.dlq, self.pop_retries):
            for pair in [pair for pair in pairs if pair[1] == topic]:
                del pairs[pair]
        for by_topic in (self.timers_entered, self.timers_fired, self.timer_delays):
            by_topic.pop(topic, None)

    def group_deleted(self, group: str) -> None:
        self.settle()
        for key in [key for key in self.outs if key.group == group]:
            del self.outs[key]
        for pairs in (self.dlq, self.pop_retries):
            for pair in [pair for pair in pairs if pair[0] == group]:
                del pairs[pair]

    def _ins(self, topic: str, kind: str) -> InCounts:
        counts = self.ins.get((topic, kind))
        if counts is None:
            counts = self.ins[topic, kind] = InCounts()
        return counts


def is_retry_or_dlq(topic: str) -> bool:
    return names.is_retry_topic(topic) or names.is_dlq_topic(topic)


def message_kind(properties: Mapping[str, str]) -> str:
    """Kind of a message by the properties its sender gave it. Source: BrokerMetricsManager.getMessageType (5.5)."""
    if properties.get(message_const.TRANSACTION_PREPARED, "").lower() == "true":
        return TRANSACTION
    if message_const.SHARDING_KEY in properties:
        return FIFO
    return DELAY if any(name in properties for name in _DELAYS) else NORMAL
