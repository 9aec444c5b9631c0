"""Metrics under the official names: what is counted where, and what a scrape costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gantry.broker.metrics import names
from gantry.broker.metrics.counters import Histogram, MetricsCounters, message_kind
from gantry.broker.metrics.exporter import common_labels
from gantry.errors import ConfigError
from gantry.model import Message
from gantry.model.heartbeat import CONSUME_ACTIVELY
from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.consumer_send_msg_back import ConsumerSendMsgBackRequestHeader
from gantry.protocol.remoting.header.update_consumer_offset import UpdateConsumerOffsetRequestHeader
from gantry.protocol.remoting.version_names import version_name
from gantry.runtime.http_get import http_get
from tests.unit.broker.broker_rig import GROUP, BrokerRig, pull_request, send_request, small_store
from tests.unit.broker.metrics_page import MetricsPage


async def scrape(rig: BrokerRig) -> MetricsPage:
    address = rig.controller.metrics_address
    assert address is not None
    task = asyncio.ensure_future(http_get(rig.net, rig.clock, f"http://127.0.0.1:{address[1]}/-/healthy", timeout_ms=3000))
    await rig.clock.run_ms(10)
    assert task.result() == (200, b"Exporter is healthy.\n")
    exporter = rig.controller._metrics_exporter
    assert exporter is not None
    return MetricsPage((await exporter.page()).decode())


@pytest.fixture
async def rig() -> AsyncIterator[BrokerRig]:
    async with BrokerRig(metrics_exporter_type="PROM") as rig:
        yield rig


async def test_messages_in_by_topic_and_kind(rig: BrokerRig) -> None:
    for number in range(3):
        await rig.send("Orders", b"x" * 2000 * number + b"y", unique_key=f"KEY{number}")
    await rig.send("Orders", properties={"__SHARDINGKEY": "k"})
    await rig.send("Orders", properties={"__SHARDINGKEY": "other"}, unique_key="KEY9")
    await rig.send("Orders", properties={"DELAY": "3"})
    await rig.ask(send_request("Orders", batch=[Message(topic="Orders", body=b"1"), Message(topic="Orders", body=b"2")]))
    page = await scrape(rig)
    kinds = {kind: page.value("rocketmq_messages_in_total", topic="Orders", message_type=kind, is_system="false")
             for kind in ("normal", "fifo", "delay")}  # fmt: skip
    assert kinds == {"normal": 5, "fifo": 2, "delay": None}
    delayed = {"topic": "SCHEDULE_TOPIC_XXXX", "message_type": "delay", "is_system": "true"}
    assert page.value("rocketmq_messages_in_total", **delayed) == 1
    normal = {"topic": "Orders", "message_type": "normal", "is_system": "false"}
    assert page.value("rocketmq_message_size_count", **normal) == 4, "a batch is one request"
    assert page.value("rocketmq_message_size_bucket", **normal, le="1024.0") == 2
    assert page.value("rocketmq_message_size_bucket", **normal, le="4096.0") == 3
    assert page.value("rocketmq_message_size_bucket", **normal, le="+Inf") == 4
    assert page.types["rocketmq_messages_in"] == "counter"
    # The topic's own counter says the same of the bytes.
    item = rig.context.stats.find("TOPIC_PUT_SIZE", "Orders")
    assert item is not None
    assert page.sum("rocketmq_throughput_in_total", topic="Orders") == item.value


async def test_counts_are_cumulative_over_scrapes(rig: BrokerRig) -> None:
    labels = {"topic": "Orders", "message_type": "normal", "is_system": "false"}
    for number in range(3):
        await rig.send("Orders", unique_key=f"KEY{number}")
        assert (await scrape(rig)).value("rocketmq_messages_in_total", **labels) == number + 1


async def test_messages_out_and_how_far_a_group_is_behind(rig: BrokerRig) -> None:
    for number in range(10):
        await rig.send("Orders", b"%d" % number, unique_key=f"KEY{number}")
    await rig.heartbeat("Orders")
    await rig.pull("Orders", 0, 0, count=6)
    update = UpdateConsumerOffsetRequestHeader(consumer_group=GROUP, topic="Orders", queue_id=0, commit_offset=2)
    assert (await rig.ask(update)).code == 0
    await rig.clock.run_ms(1500)
    page = await scrape(rig)
    assert page.value("rocketmq_messages_out_total", topic="Orders", consumer_group=GROUP, is_system="false") == 6
    lag = {"topic": "Orders", "consumer_group": GROUP, "is_system": "false", "is_retry": "false"}
    assert page.value("rocketmq_consumer_lag_messages", **lag) == 8
    assert page.value("rocketmq_consumer_inflight_messages", **lag) == 4
    assert page.value("rocketmq_consumer_ready_messages", **lag) == 4
    assert page.value("rocketmq_consumer_lag_latency_milliseconds", **lag) == pytest.approx(1510, abs=30)
    assert page.value("rocketmq_consumer_queueing_latency_milliseconds", **lag) == pytest.approx(1510, abs=30)


async def test_the_lag_of_a_group_that_only_pulls_is_shown_too(rig: BrokerRig) -> None:
    await rig.send("Orders")
    await rig.heartbeat("Other", group="elsewhere", consume_type=CONSUME_ACTIVELY)
    await rig.pull("Orders", 0, 1, group=GROUP)
    lag = {"topic": "Orders", "consumer_group": GROUP, "is_system": "false", "is_retry": "false"}
    page = await scrape(rig)
    assert page.value("rocketmq_consumer_lag_messages", **lag) is not None


async def test_times_of_requests_by_code_and_answer(rig: BrokerRig) -> None:
    for number in range(4):
        await rig.send("Orders", unique_key=f"KEY{number}")
    one_way = send_request("Orders", unique_key="ONEWAY", oneway=True)
    await rig.client.invoke_oneway(rig.address, one_way)
    await rig.heartbeat("Orders")
    await rig.pull("Orders", 0, 0)
    held = asyncio.ensure_future(rig.ask(pull_request("Orders", 0, 5, suspend_ms=1000)))
    await rig.clock.run_ms(700)
    await rig.send("Orders", unique_key="WAKES")
    assert (await held).code == 0
    expired = asyncio.ensure_future(rig.ask(pull_request("Orders", 0, 6, suspend_ms=2000)))
    await rig.clock.run_ms(2200)
    assert (await expired).code == 19
    page = await scrape(rig)

    def count(code: str, answer: str, *, held: bool = False, result: str = "success", le: str = "+Inf") -> float | None:
        return page.value(
            "rocketmq_rpc_latency_milliseconds_bucket", protocol_type="remoting", request_code=code, response_code=answer,
            is_long_polling=str(held).lower(), result=result, le=le,
        )  # fmt: skip

    assert count("send_message_v2", "success") == 5
    assert count("send_message_v2", "success", result="oneway") == 1
    assert count("heart_beat", "success") == 1
    assert count("pull_message", "success") == 1
    assert count("pull_message", "success", held=True) == 1
    assert count("pull_message", "success", held=True, le="100.0") == 0
    assert count("pull_message", "success", held=True, le="1000.0") == 1
    assert count("pull_message", "pull_not_found", held=True, le="1000.0") == 0
    assert count("pull_message", "pull_not_found", held=True) == 1


async def test_half_messages_and_how_they_ended(rig: BrokerRig) -> None:
    metrics = rig.context.transactions.metrics
    metrics.add("Orders", 3)
    metrics.committed("Orders", 70)
    metrics.rolled_back("Orders")
    page = await scrape(rig)
    assert page.value("rocketmq_half_messages", topic="Orders") == 3
    assert page.value("rocketmq_commit_messages_total", topic="Orders") == 1
    assert page.value("rocketmq_rollback_messages_total", topic="Orders") == 1
    assert page.value("rocketmq_finish_message_latency_milliseconds_bucket", topic="Orders", le="60.0") == 0
    assert page.value("rocketmq_finish_message_latency_milliseconds_bucket", topic="Orders", le="600.0") == 1


async def test_dead_letters_delays_and_timers(rig: BrokerRig) -> None:
    await rig.send("Orders", b"bad")
    (message,) = await rig.messages("Orders")
    back = ConsumerSendMsgBackRequestHeader(
        offset=message.physical_offset, group=GROUP, delay_level=-1, origin_msg_id=message.msg_id, origin_topic="Orders",
        unit_mode=False, max_reconsume_times=16,
    )  # fmt: skip
    assert (await rig.ask(back)).code == 0
    await rig.send("Orders", b"later", properties={"DELAY": "1"}, unique_key="LATER")
    await rig.send("Orders", b"timed", properties={"TIMER_DELAY_SEC": "3"}, unique_key="TIMED")
    await rig.clock.run_ms(1500)
    page = await scrape(rig)
    assert page.value("rocketmq_timing_messages", topic="Orders", storage_type="local", storage_medium="disk") == 1
    assert page.value("rocketmq_timer_dequeue_lag", storage_type="local", storage_medium="disk") == 1
    snapshot = {"storage_type": "local", "storage_medium": "disk", "timer_bound_s": "5"}
    assert page.value("rocketmq_timer_message_snapshot", **snapshot) == 1
    await rig.clock.run_ms(4000)
    page = await scrape(rig)
    dead = {"topic": "Orders", "consumer_group": GROUP, "is_system": "false"}
    assert page.value("rocketmq_send_to_dlq_messages_total", **dead) == 1
    delayed = {"topic": "Orders", "message_type": "delay", "is_system": "false"}
    assert page.value("rocketmq_messages_in_total", **delayed) == 1, (
        "what a level has held comes in once more, a timer does not"
    )
    store = {"storage_type": "local", "storage_medium": "disk", "topic": "Orders"}
    assert page.value("rocketmq_timer_enqueue_total", **store) == 1
    assert page.value("rocketmq_timer_dequeue_total", **store) == 1
    assert page.value("rocketmq_timing_messages", **store) == 0


async def test_connections_topics_and_groups(rig: BrokerRig) -> None:
    await rig.heartbeat("Orders")
    page = await scrape(rig)
    labels = {"consumer_group": GROUP, "language": "python", "version": version_name(513).lower(), "consume_mode": "push",
              "protocol_type": "remoting", "is_system": "false"}  # fmt: skip
    shown = page.samples["rocketmq_consumer_connections"]
    assert list(shown.values()) == [1]
    assert {name for name, _ in next(iter(shown))} == set(labels)
    assert page.value("rocketmq_topic_number") == len(rig.context.topics.table)
    assert page.value("rocketmq_broker_permission") == 6
    assert page.common == {"cluster": {"DefaultCluster"}, "node_type": {"broker"}, "node_id": {"broker-a"},
                           "otel_scope_name": {"broker-meter"}}  # fmt: skip


async def test_a_deleted_topic_is_shown_no_more(rig: BrokerRig) -> None:
    await rig.send("Orders")
    assert (await scrape(rig)).sum("rocketmq_messages_in_total", topic="Orders") == 1
    request = RemotingCommand.request(RequestCode.DELETE_TOPIC_IN_BROKER)
    request.ext_fields = {"topic": "Orders"}
    assert (await rig.ask(request)).code == 0
    assert (await scrape(rig)).sum("rocketmq_messages_in_total", topic="Orders") == 0


@pytest.mark.parametrize(
    ("setting", "metric"),
    [
        ("enable_stats_metrics", "rocketmq_topic_number"),
        ("enable_request_metrics", "rocketmq_messages_in_total"),
        ("enable_connection_metrics", "rocketmq_consumer_connections"),
        ("enable_lag_and_dlq_metrics", "rocketmq_consumer_lag_messages"),
        ("enable_transaction_metrics", "rocketmq_half_messages"),
        ("enable_remoting_metrics", "rocketmq_rpc_latency_milliseconds_count"),
        ("enable_message_store_metrics", "rocketmq_storage_flush_behind_bytes"),
        ("enable_pop_metrics", "rocketmq_pop_checkpoint_buffer_size"),
    ],
)
async def test_each_group_of_metrics_can_be_left_out(setting: str, metric: str) -> None:
    for shown in (True, False):
        async with BrokerRig(metrics_exporter_type="PROM", **{setting: shown}) as rig:
            await rig.send("Orders")
            rig.context.transactions.metrics.add("Orders", 1)
            await rig.heartbeat("Orders")
            assert (metric in (await scrape(rig)).samples) is shown


async def test_without_an_exporter_nothing_listens() -> None:
    async with BrokerRig() as rig:
        await rig.send("Orders")
        assert rig.controller.metrics_address is None
        assert rig.context.metrics.rpc == {}


@pytest.mark.parametrize("wanted", ["OTLP_GRPC", "LOG", "JMX"])
def test_an_exporter_this_version_lacks_is_refused(wanted: str) -> None:
    with pytest.raises(ConfigError, match="metricsExporterType"):
        type(small_store()).from_properties({"metricsExporterType": wanted})


def test_labels_of_an_operator_come_with_every_metric() -> None:
    config = small_store(metrics_label="zone:a,wrong,also:very:wrong,rack:7", metrics_in_delta=True)
    labels = common_labels(config)
    assert (labels["zone"], labels["rack"], labels["aggregation"]) == ("a", "7", "delta")
    assert "wrong" not in labels
    assert "also" not in labels


async def test_more_series_than_the_limit_are_left_out() -> None:
    async with BrokerRig(metrics_exporter_type="PROM", metrics_otel_cardinality_limit=3) as rig:
        for number in range(5):
            rig.context.metrics.message_in(f"T{number}", "normal", 1, 100)
        page = await scrape(rig)
        assert len(page.samples["rocketmq_messages_in_total"]) == 3


async def test_a_scrape_lets_others_have_their_turns() -> None:
    """Thousands of topics: the loop goes round all the time, and who asks meanwhile gets the same page."""
    async with BrokerRig(metrics_exporter_type="PROM") as rig:
        for number in range(3000):
            rig.context.metrics.message_in(f"T{number}", "normal", 1, 100)
        exporter = rig.controller._metrics_exporter
        assert exporter is not None
        turns = 0
        # Time that stands still would let it run through: here each look at the clock costs half a millisecond.
        ticks = iter(range(0, 1 << 62, 500_000))
        exporter._clock = _Ticking(rig.clock, ticks)  # type: ignore[assignment]
        first, second = asyncio.ensure_future(exporter.page()), asyncio.ensure_future(exporter.page())
        while not first.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns > 100
        assert await first == await second
        assert first.result().count(b"rocketmq_messages_in_total{") == 3000
        assert first.result().count(b"# TYPE rocketmq_messages_in_total ") == 1


class _Ticking:
    def __init__(self, clock: Any, ticks: Any) -> None:
        self._clock = clock
        self._ticks = ticks

    def monotonic_ns(self) -> int:
        return next(self._ticks)  # type: ignore[no-any-return]


def test_bounds_of_a_histogram_belong_to_the_bucket_below() -> None:
    histogram = Histogram((1, 3))
    for value in (0, 1, 2, 3, 4):
        histogram.record(value)
    assert (histogram.counts, histogram.sum) == ([2, 2, 1], 10)


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        ({}, "normal"),
        ({"__SHARDINGKEY": "a"}, "fifo"),
        ({"TRAN_MSG": "true", "__SHARDINGKEY": "a"}, "transaction"),
        ({"TRAN_MSG": "false"}, "normal"),
        ({"DELAY": "1"}, "delay"),
        ({"TIMER_DELIVER_MS": "1"}, "delay"),
        ({"__STARTDELIVERTIME": "1"}, "delay"),
    ],
)
def test_kinds_of_messages(properties: dict[str, str], kind: str) -> None:
    assert message_kind(properties) == kind


def test_retries_and_dead_letters_are_no_messages_in_or_out() -> None:
    counters = MetricsCounters()
    for topic in ("%RETRY%g", "%DLQ%g"):
        counters.message_in(topic, "normal", 1, 1)
        counters.pulled("g", topic, 0, 1, 1)
    assert not counters.ins
    assert not counters.outs


@pytest.mark.parametrize(
    ("number", "name"), [(513, "V5_5_0"), (399, "V4_9_3"), (0, "V3_0_0_SNAPSHOT"), (9999, "HIGHER_VERSION")]
)
def test_version_names(number: int, name: str) -> None:
    assert version_name(number) == name


def test_the_page_of_documentation_has_every_metric() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "metrics.md").read_text()
    specs = [value for value in vars(names).values() if isinstance(value, names.Spec)]
    assert len(specs) > 30
    for spec in specs:
        assert f"| `{spec.shown_name}` | {spec.kind} | {', '.join(spec.labels) or '-'} | {spec.doc} |" in text
