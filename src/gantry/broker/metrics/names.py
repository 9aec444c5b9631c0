"""The metrics under their official names: what each is, and which of the settings shows it."""

from __future__ import annotations

from typing import NamedTuple

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"

SCOPE = "broker-meter"
"""Source: BrokerMetricsConstant.OPEN_TELEMETRY_METER_NAME (5.5)."""

_UNITS = {"": "", "bytes": "bytes", "milliseconds": "milliseconds", "ms": "milliseconds", "seconds": "seconds"}


class Spec(NamedTuple):
    """`unit` as the original declares it; it becomes a part of the name that is shown."""

    name: str
    kind: str
    labels: tuple[str, ...]
    doc: str
    unit: str = ""

    @property
    def shown_name(self) -> str:
        unit = _UNITS[self.unit]
        if not unit or self.name.endswith("_" + unit):
            return self.name
        return f"{self.name}_{unit}"


_LAG = ("consumer_group", "topic", "is_retry", "is_system")
_STORE = ("storage_type", "storage_medium")
_IN = ("topic", "message_type", "is_system")
_OUT = ("topic", "consumer_group", "is_system")

# -- enableStatsMetrics
PROCESSOR_WATERMARK = Spec("rocketmq_processor_watermark", GAUGE, ("processor",), "Requests that wait to be served")
BROKER_PERMISSION = Spec("rocketmq_broker_permission", GAUGE, (), "brokerPermission: 2 writable, 4 readable")
TOPIC_NUMBER = Spec("rocketmq_topic_number", GAUGE, (), "Topics this broker has")
GROUP_NUMBER = Spec("rocketmq_consumer_group_number", GAUGE, (), "Consumer groups this broker knows")

# -- enableRequestMetrics
MESSAGES_IN = Spec("rocketmq_messages_in_total", COUNTER, _IN, "Messages that came in")
MESSAGES_OUT = Spec("rocketmq_messages_out_total", COUNTER, _OUT, "Messages that went out")
THROUGHPUT_IN = Spec("rocketmq_throughput_in_total", COUNTER, _IN, "Bytes of records that came in")
THROUGHPUT_OUT = Spec("rocketmq_throughput_out_total", COUNTER, _OUT, "Bytes of records that went out")
MESSAGE_SIZE = Spec("rocketmq_message_size", HISTOGRAM, _IN, "Mean bytes of a request's records")
TOPIC_CREATION = Spec(
    "rocketmq_topic_create_execution_time",
    HISTOGRAM,
    ("invocation_status", "is_system"),
    "Time to make a topic",
    "milliseconds",
)
GROUP_CREATION = Spec(
    "rocketmq_consumer_group_create_execution_time", HISTOGRAM, ("invocation_status",), "Time to make a group", "milliseconds"
)

# -- enableConnectionMetrics
PRODUCER_CONNECTIONS = Spec(
    "rocketmq_producer_connections", GAUGE, ("language", "version", "protocol_type"), "Connected producers"
)
CONSUMER_CONNECTIONS = Spec(
    "rocketmq_consumer_connections", GAUGE,
    ("consumer_group", "language", "version", "consume_mode", "protocol_type", "is_system"), "Connected consumers",
)  # fmt: skip

# -- enableLagAndDlqMetrics
LAG_MESSAGES = Spec("rocketmq_consumer_lag_messages", GAUGE, _LAG, "Messages a group has not acknowledged")
LAG_LATENCY = Spec("rocketmq_consumer_lag_latency", GAUGE, _LAG, "Age of the first of them", "milliseconds")
INFLIGHT_MESSAGES = Spec("rocketmq_consumer_inflight_messages", GAUGE, _LAG, "Messages handed out and not acknowledged")
QUEUEING_LATENCY = Spec("rocketmq_consumer_queueing_latency", GAUGE, _LAG, "Age of the first not handed out", "milliseconds")
READY_MESSAGES = Spec("rocketmq_consumer_ready_messages", GAUGE, _LAG, "Messages not handed out yet")
DEAD_LETTERS = Spec(
    "rocketmq_send_to_dlq_messages_total",
    COUNTER,
    ("consumer_group", "topic", "is_system"),
    "Messages sent to the dead letters",
)

# -- enableTransactionMetrics
COMMITS = Spec("rocketmq_commit_messages_total", COUNTER, ("topic",), "Half messages that were committed")
ROLLBACKS = Spec("rocketmq_rollback_messages_total", COUNTER, ("topic",), "Half messages that were rolled back")
FINISH_LATENCY = Spec(
    "rocketmq_finish_message_latency", HISTOGRAM, ("topic",), "How long committed messages were half, in seconds", "ms"
)
HALF_MESSAGES = Spec("rocketmq_half_messages", GAUGE, ("topic",), "Half messages that are open")

# -- enableRemotingMetrics
RPC_LATENCY = Spec(
    "rocketmq_rpc_latency", HISTOGRAM, ("protocol_type", "request_code", "response_code", "is_long_polling", "result"),
    "Time from a request to its answer", "milliseconds",
)  # fmt: skip

# -- enableMessageStoreMetrics
STORAGE_SIZE = Spec("rocketmq_storage_size", GAUGE, _STORE, "Used bytes of the store's disk", "bytes")
FLUSH_BEHIND = Spec("rocketmq_storage_flush_behind_bytes", GAUGE, _STORE, "Log that is not synced yet", "bytes")
DISPATCH_BEHIND = Spec("rocketmq_storage_dispatch_behind_bytes", GAUGE, _STORE, "Log that readers do not see yet", "bytes")
RESERVE_TIME = Spec("rocketmq_storage_message_reserve_time", GAUGE, _STORE, "Age of the first message", "milliseconds")
TIMER_ENQUEUE_LAG = Spec("rocketmq_timer_enqueue_lag", GAUGE, _STORE, "Timers that are not in the wheel yet")
TIMER_ENQUEUE_LATENCY = Spec("rocketmq_timer_enqueue_latency", GAUGE, _STORE, "Age of the first of them", "milliseconds")
TIMER_DEQUEUE_LAG = Spec("rocketmq_timer_dequeue_lag", GAUGE, _STORE, "Timers in the wheel")
TIMER_DEQUEUE_LATENCY = Spec("rocketmq_timer_dequeue_latency", GAUGE, _STORE, "How late the wheel is", "milliseconds")
TIMING_MESSAGES = Spec("rocketmq_timing_messages", GAUGE, (*_STORE, "topic"), "Timers that wait, by topic")
TIMER_ENQUEUED = Spec("rocketmq_timer_enqueue_total", COUNTER, (*_STORE, "topic"), "Timers that entered the wheel")
TIMER_DEQUEUED = Spec("rocketmq_timer_dequeue_total", COUNTER, (*_STORE, "topic"), "Timers that were delivered")
TIMER_SNAPSHOT = Spec(
    "rocketmq_timer_message_snapshot", GAUGE, (*_STORE, "timer_bound_s"), "Timers due within so many seconds, less those before"
)
TIMER_DELAY = Spec("rocketmq_delay_message_latency", HISTOGRAM, (*_STORE, "topic"), "Delays that timers asked for", "seconds")

# -- enablePopMetrics
POP_OFFSETS = Spec("rocketmq_pop_offset_buffer_size", GAUGE, (), "Queues of groups that have popped messages out")
POP_CHECKPOINTS = Spec("rocketmq_pop_checkpoint_buffer_size", GAUGE, (), "Popped messages that are out")
POP_RETRIES = Spec(
    "rocketmq_pop_revive_retry_messages_total", COUNTER, ("consumer_group", "topic", "put_status"),
    "Popped messages that were given back",
)  # fmt: skip

TIMER_BOUNDS_S = (5, 60, 300, 900, 3600, 14_400, 28_800, 86_400)
"""Source: TimerMetrics.timerDist (5.5)."""
