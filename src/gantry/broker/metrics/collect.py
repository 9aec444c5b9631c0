"""The figures of one scrape: metric by metric, as rows of labels and value."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from gantry.errors import DiskError
from gantry.model import names
from gantry.protocol.remoting.codes import RequestCode, ResponseCode
from gantry.protocol.remoting.version_names import version_name

from ..transaction.transaction_metrics import FINISH_LATENCY_BUCKETS_S
from . import names as n
from .counters import Histogram, InCounts, MetricsCounters, OutCounts
from .lag import Lag, consumer_lags
from .names import Spec

if TYPE_CHECKING:
    from ..context import BrokerContext

Value = int | Histogram
Row = tuple[tuple[str, ...], Value]
Turn = Callable[[], Awaitable[None]]

REMOTING = "remoting"
LOCAL_DISK = ("local", "disk")
PROCESSORS = (
    "send", "async_put", "pull", "ack", "query_message", "client_manager", "heartbeat", "lite_pull", "transaction",
    "consumer_manager", "admin", "reply",
)  # fmt: skip

_REQUESTS = {int(code): code.name.lower() for code in RequestCode}
_RESPONSES = {int(code): code.name.lower() for code in ResponseCode}


async def collect(broker: BrokerContext, counters: MetricsCounters, turn: Turn) -> AsyncIterator[tuple[Spec, Iterable[Row]]]:
    """Every metric the settings show, each once. `turn` is awaited between pieces of work of a fraction of a millisecond."""
    config = broker.config
    counters.settle()
    if config.enable_stats_metrics:
        for found in _stats(broker):
            yield found
    if config.enable_request_metrics:
        async for found in _requests(broker, counters, turn):
            yield found
    if config.enable_connection_metrics:
        for found in _connections(broker):
            yield found
    if config.enable_lag_and_dlq_metrics:
        async for found in _lags(broker, counters, turn):
            yield found
    if config.enable_transaction_metrics:
        for found in _transactions(broker):
            yield found
    if config.enable_remoting_metrics:
        yield n.RPC_LATENCY, [
            ((REMOTING, _REQUESTS.get(key.request_code, str(key.request_code)),
              _RESPONSES.get(key.response_code, str(key.response_code)), _bool(key.long_polling), key.result), histogram)
            for key, histogram in list(counters.rpc.items())
            if any(histogram.counts)
        ]  # fmt: skip
    if config.enable_message_store_metrics:
        async for found in _store(broker, counters, turn):
            yield found
    if config.enable_pop_metrics:
        for found in _pops(broker, counters):
            yield found


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _system_group(group: str) -> bool:
    """Source: BrokerMetricsManager.isSystemGroup (5.5)."""
    return names.is_system_group(group.upper())


def _stats(broker: BrokerContext) -> Iterable[tuple[Spec, Iterable[Row]]]:
    # Requests are served as they are read; what waits are sends for the disk or a copy, and woken pulls for their turn.
    waiting = {"send": broker.waiting_sends.count, "pull": len(broker.long_polling.ready)}
    yield n.PROCESSOR_WATERMARK, [((name,), waiting.get(name, 0)) for name in PROCESSORS]
    yield n.BROKER_PERMISSION, [((), broker.config.broker_permission)]
    yield n.TOPIC_NUMBER, [((), len(broker.topics.table))]
    yield n.GROUP_NUMBER, [((), len(broker.subscriptions.table))]


async def _requests(broker: BrokerContext, counters: MetricsCounters, turn: Turn) -> AsyncIterator[tuple[Spec, Iterable[Row]]]:
    system = broker.topics.is_system_topic
    ins: list[tuple[tuple[str, ...], InCounts]] = []
    for (topic, kind), counts in list(counters.ins.items()):
        await turn()
        ins.append(((topic, kind, _bool(system(topic))), counts))
    yield n.MESSAGES_IN, ((labels, counts.messages) for labels, counts in ins)
    yield n.THROUGHPUT_IN, ((labels, counts.bytes) for labels, counts in ins)
    yield n.MESSAGE_SIZE, ((labels, counts.sizes) for labels, counts in ins)
    # Pops say whether they are of a retried message, pulls have no such label.
    pulled: list[tuple[tuple[str, ...], OutCounts]] = []
    popped: list[tuple[tuple[str, ...], OutCounts]] = []
    for key, out in list(counters.outs.items()):
        await turn()
        labels = (key.topic, key.group, _bool(system(key.topic) or _system_group(key.group)))
        if key.is_retry is None:
            pulled.append((labels, out))
        else:
            popped.append(((*labels, _bool(key.is_retry)), out))
    yield n.MESSAGES_OUT, ((labels, each.messages) for labels, each in pulled)
    yield with_labels(n.MESSAGES_OUT, ("is_retry",)), ((labels, each.messages) for labels, each in popped)
    yield n.THROUGHPUT_OUT, ((labels, each.bytes) for labels, each in pulled)
    yield with_labels(n.THROUGHPUT_OUT, ("is_retry",)), ((labels, each.bytes) for labels, each in popped)
    yield (
        n.TOPIC_CREATION,
        [((_status(ok), _bool(is_system)), histogram) for (ok, is_system), histogram in counters.topic_creations.items()],
    )
    yield n.GROUP_CREATION, [((_status(ok),), histogram) for ok, histogram in counters.group_creations.items()]


def with_labels(spec: Spec, more: tuple[str, ...]) -> Spec:
    return spec._replace(labels=spec.labels + more)


def _status(ok: bool) -> str:
    return "success" if ok else "failure"


def _connections(broker: BrokerContext) -> Iterable[tuple[Spec, Iterable[Row]]]:
    producers: Counter[tuple[str, ...]] = Counter()
    for infos in broker.producers.group_table().values():
        for info in infos:
            producers[info.language.lower(), version_name(info.version).lower(), REMOTING] += 1
    yield n.PRODUCER_CONNECTIONS, list(producers.items())
    consumers: Counter[tuple[str, ...]] = Counter()
    for group, members in broker.consumers.groups().items():
        mode = {"CONSUME_ACTIVELY": "pull", "CONSUME_PASSIVELY": "push", "CONSUME_POP": "pop"}.get(members.consume_type, "")
        for client in members.channels.values():
            version = version_name(client.version).lower()
            consumers[group, client.language.lower(), version, mode, REMOTING, _bool(_system_group(group))] += 1
    yield n.CONSUMER_CONNECTIONS, list(consumers.items())


async def _lags(broker: BrokerContext, counters: MetricsCounters, turn: Turn) -> AsyncIterator[tuple[Spec, Iterable[Row]]]:
    lags = await consumer_lags(broker, turn)
    now_ms = broker.clock.now_ms()
    system = broker.topics.is_system_topic
    labelled: list[tuple[tuple[str, ...], Lag]] = []
    for lag in lags:
        await turn()
        of_system = _bool(system(lag.topic) or _system_group(lag.group))
        labelled.append(((lag.group, lag.topic, _bool(lag.is_retry), of_system), lag))
    yield n.LAG_MESSAGES, ((labels, each.lag) for labels, each in labelled)
    yield n.LAG_LATENCY, ((labels, _age(now_ms, each.unconsumed_ms)) for labels, each in labelled)
    yield n.INFLIGHT_MESSAGES, ((labels, each.inflight) for labels, each in labelled)
    yield n.QUEUEING_LATENCY, ((labels, _age(now_ms, each.unpulled_ms)) for labels, each in labelled)
    yield n.READY_MESSAGES, ((labels, each.ready) for labels, each in labelled)
    yield (
        n.DEAD_LETTERS,
        [
            ((group, topic, _bool(system(topic) or _system_group(group))), count)
            for (group, topic), count in counters.dlq.items()
        ],
    )


def _age(now_ms: int, time_ms: int) -> int:
    return max(now_ms - time_ms, 0) if time_ms else 0


def _transactions(broker: BrokerContext) -> Iterable[tuple[Spec, Iterable[Row]]]:
    metrics = broker.transactions.metrics
    yield n.COMMITS, [((topic,), count) for topic, count in metrics.commits.items()]
    yield n.ROLLBACKS, [((topic,), count) for topic, count in metrics.rollbacks.items()]
    finished: list[Row] = []
    for topic, latency in metrics.finish_latency.items():
        histogram = Histogram(FINISH_LATENCY_BUCKETS_S)
        histogram.counts, histogram.sum = list(latency.counts), latency.sum_s
        finished.append(((topic,), histogram))
    yield n.FINISH_LATENCY, finished
    yield n.HALF_MESSAGES, [((topic,), count) for topic, count in metrics.half_messages.items()]


async def _store(broker: BrokerContext, counters: MetricsCounters, turn: Turn) -> AsyncIterator[tuple[Spec, Iterable[Row]]]:
    store, config = broker.store, broker.config
    try:
        usage = broker.disk.usage(config.store_path_root_dir)
    except DiskError:
        pass
    else:
        yield n.STORAGE_SIZE, [(LOCAL_DISK, usage.total - usage.free)]
    yield n.FLUSH_BEHIND, [(LOCAL_DISK, max(store.max_physical_offset - store.flushed_offset, 0))]
    yield n.DISPATCH_BEHIND, [(LOCAL_DISK, store.dispatch_behind_bytes())]
    first_ms = await store.earliest_message_time()
    if first_ms > 0:
        yield n.RESERVE_TIME, [(LOCAL_DISK, broker.clock.now_ms() - first_ms)]
    if not config.timer_wheel_enable:
        return
    timer = broker.timer
    yield n.TIMER_ENQUEUE_LAG, [(LOCAL_DISK, timer.enter_behind_count)]
    yield n.TIMER_ENQUEUE_LATENCY, [(LOCAL_DISK, await timer.enter_behind_ms())]
    yield n.TIMER_DEQUEUE_LAG, [(LOCAL_DISK, timer.account.metrics.pending_count)]
    yield n.TIMER_DEQUEUE_LATENCY, [(LOCAL_DISK, timer.fire_behind_ms)]
    yield n.TIMING_MESSAGES, [((*LOCAL_DISK, topic), each.count) for topic, each in timer.account.metrics.counts.items()]
    yield n.TIMER_ENQUEUED, [((*LOCAL_DISK, topic), count) for topic, count in counters.timers_entered.items()]
    yield n.TIMER_DEQUEUED, [((*LOCAL_DISK, topic), count) for topic, count in counters.timers_fired.items()]
    yield n.TIMER_SNAPSHOT, await _timer_snapshot(broker, turn)
    yield n.TIMER_DELAY, [((*LOCAL_DISK, topic), histogram) for topic, histogram in counters.timer_delays.items()]


async def _timer_snapshot(broker: BrokerContext, turn: Turn) -> list[Row]:
    """Slots of one day, as the wheel has them; blocks of it that were never used are passed over."""
    book = broker.timer.book
    begin = time_ms = book.floor(broker.clock.now_ms())
    rows: list[Row] = []
    for bound in n.TIMER_BOUNDS_S:
        end, count = begin + bound * 1000, 0
        while time_ms < end:
            await turn()
            later = book.wheel.skip_blank(time_ms)
            if later > time_ms:
                time_ms = min(later, end)
                continue
            slot = book.wheel.get(time_ms)
            count += slot.message_count if slot is not None else 0
            time_ms += book.precision_ms
        time_ms = end
        rows.append(((*LOCAL_DISK, str(bound)), count))
    return rows


def _pops(broker: BrokerContext, counters: MetricsCounters) -> Iterable[tuple[Spec, Iterable[Row]]]:
    ledger = broker.pop.account.ledger
    yield n.POP_OFFSETS, [((), sum(1 for queue in ledger.all_queues() if queue.slots))]
    yield n.POP_CHECKPOINTS, [((), ledger.out_count)]
    yield n.POP_RETRIES, [((group, topic, "PUT_OK"), count) for (group, topic), count in counters.pop_retries.items()]
