"""Counters under their official names, and the rates derived from them."""

from __future__ import annotations

import datetime

import pytest

from gantry.broker.stats.broker_stats import BrokerStats
from gantry.broker.stats.latency_histogram import LatencyHistogram
from gantry.testing import VirtualClock
from tests.unit.broker.broker_rig import BrokerRig


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def stats(clock: VirtualClock) -> BrokerStats:
    stats = BrokerStats(clock, cluster_name="C")
    stats.start()
    return stats


def value(stats: BrokerStats, name: str, key: str) -> int:
    item = stats.find(name, key)
    assert item is not None, (name, key)
    return item.value


def test_a_put_is_counted_by_topic_queue_and_broker(stats: BrokerStats) -> None:
    stats.topic_put("T", 3, 32, 4096)
    stats.topic_put("T", 3, 1, 100)
    stats.topic_put("SCHEDULE_TOPIC_XXXX", 0, 1, 100)
    assert value(stats, "TOPIC_PUT_NUMS", "T") == 33
    assert value(stats, "TOPIC_PUT_SIZE", "T") == 4196
    assert value(stats, "QUEUE_PUT_NUMS", "T@3") == 33
    assert value(stats, "BROKER_PUT_NUMS", "C") == 34
    assert value(stats, "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC", "C") == 33
    assert stats.put_total == 34


def test_totals_of_today_leave_out_what_the_broker_calls_a_system_topic(clock: VirtualClock) -> None:
    stats = BrokerStats(clock, cluster_name="C", is_system_topic={"broker-a"}.__contains__)
    for topic in ("broker-a", "T"):
        stats.topic_put(topic, 0, 2, 20)
        stats.group_get("g", topic, 0, 1, 10)
    assert (stats.user_put_total, stats.user_get_total) == (2, 1)
    assert (stats.put_total, stats.get_total) == (4, 2)


def test_a_get_is_counted_by_topic_and_group(stats: BrokerStats) -> None:
    stats.group_get("g", "T", 0, 5, 500)
    stats.get_miss()
    assert value(stats, "GROUP_GET_NUMS", "T@g") == 5
    assert value(stats, "GROUP_GET_SIZE", "T@g") == 500
    assert value(stats, "QUEUE_GET_NUMS", "T@0@g") == 5
    assert value(stats, "BROKER_GET_NUMS", "C") == 5
    assert stats.totals.get_found == 1
    assert stats.totals.get_miss == 1


def test_returned_and_dead_messages_have_their_counters(stats: BrokerStats) -> None:
    stats.send_back("g", "T")
    stats.dlq("g", "T")
    assert value(stats, "SNDBCK_PUT_NUMS", "T@g") == 1
    assert value(stats, "DLQ_PUT_NUMS", "T@g") == 1


def test_unknown_counters_are_not_found(stats: BrokerStats) -> None:
    assert stats.find("TOPIC_PUT_NUMS", "T") is None
    assert stats.find("NO_SUCH_NAME", "T") is None


def test_rate_of_a_topic_over_the_last_minute(stats: BrokerStats, clock: VirtualClock) -> None:
    for _ in range(6):
        stats.topic_put("T", 0, 100, 1000)
        clock.advance_ms(10_000)
    assert stats.topic_put_tps("T") == pytest.approx(10.0)
    clock.advance_ms(120_000)
    assert stats.topic_put_tps("T") == 0.0


def test_windows_of_an_hour_and_a_day(stats: BrokerStats, clock: VirtualClock) -> None:
    for _ in range(6):
        stats.topic_put("T", 0, 600, 1000)
        clock.advance_ms(600_000)
    item = stats.find("TOPIC_PUT_NUMS", "T")
    assert item is not None
    hour = item.hour()
    assert hour.sum == 3600
    assert hour.tps == pytest.approx(1.0)
    assert hour.avgpt == 600.0
    assert item.day().sum == 3600


def test_broker_rates_read_as_three_numbers_from_the_first_moment(stats: BrokerStats, clock: VirtualClock) -> None:
    assert stats.rates_text("put_times") == "0.0 0.0 0.0"
    for _ in range(20):
        stats.topic_put("T", 0, 7, 70)
        clock.advance_ms(1000)
    ten, sixty, all_of_it = map(float, stats.rates_text("put_times").split(" "))
    assert ten == pytest.approx(7.0)
    assert sixty == pytest.approx(7.0)
    assert all_of_it == pytest.approx(7.0)


def test_a_jump_of_the_wall_clock_bends_no_rate(stats: BrokerStats, clock: VirtualClock) -> None:
    for step in range(6):
        stats.topic_put("T", 0, 100, 1000)
        if step == 3:
            clock.jump_wall_ms(-5 * 3600 * 1000)
        clock.advance_ms(10_000)
    assert stats.topic_put_tps("T") == pytest.approx(10.0)


def test_totals_of_yesterday_and_today_turn_at_midnight() -> None:
    before_midnight = datetime.datetime(2026, 3, 1, 23, 59, 50).timestamp()
    clock = VirtualClock(int(before_midnight * 1000))
    stats = BrokerStats(clock, cluster_name="C")
    stats.start()
    stats.topic_put("T", 0, 5, 50)
    clock.advance_ms(15_000)
    stats.topic_put("T", 0, 2, 20)
    assert (stats.put_total_yesterday_morning, stats.put_total_today_morning, stats.put_total) == (0, 5, 7)
    clock.advance_ms(24 * 3600 * 1000)
    assert (stats.put_total_yesterday_morning, stats.put_total_today_morning) == (5, 7)


def test_counters_of_a_deleted_topic_go_and_begin_again_at_zero(stats: BrokerStats) -> None:
    for topic in ("T", "T2"):
        stats.topic_put(topic, 0, 1, 10)
        stats.group_get("g", topic, 0, 1, 10)
    stats.topic_deleted("T")
    assert stats.find("TOPIC_PUT_NUMS", "T") is None
    assert stats.find("QUEUE_PUT_NUMS", "T@0") is None
    assert stats.find("GROUP_GET_NUMS", "T@g") is None
    assert value(stats, "TOPIC_PUT_NUMS", "T2") == 1
    stats.topic_put("T", 0, 1, 10)
    assert value(stats, "TOPIC_PUT_NUMS", "T") == 1
    assert stats.put_total == 3


def test_counters_of_a_deleted_group_go(stats: BrokerStats) -> None:
    stats.group_get("g", "T", 0, 1, 10)
    stats.group_get("h", "T", 0, 1, 10)
    stats.group_deleted("g")
    assert stats.find("GROUP_GET_NUMS", "T@g") is None
    assert stats.find("QUEUE_GET_NUMS", "T@0@g") is None
    assert value(stats, "GROUP_GET_NUMS", "T@h") == 1


def test_idle_counters_are_forgotten_and_the_brokers_own_are_not(stats: BrokerStats, clock: VirtualClock) -> None:
    stats.topic_put("T", 0, 1, 10)
    for _ in range(27):
        clock.advance_ms(3_600_000)
    assert stats.find("TOPIC_PUT_NUMS", "T") is None
    assert value(stats, "BROKER_PUT_NUMS", "C") == 1
    stats.topic_put("T", 0, 1, 10)
    assert value(stats, "TOPIC_PUT_NUMS", "T") == 1
    assert value(stats, "QUEUE_PUT_NUMS", "T@0") == 1


def test_no_samples_after_shutdown(stats: BrokerStats, clock: VirtualClock) -> None:
    stats.topic_put("T", 0, 100, 1000)
    stats.shutdown()
    clock.advance_ms(60_000)
    assert stats.topic_put_tps("T") == 0.0


def test_latencies_fall_into_the_official_ranges() -> None:
    histogram = LatencyHistogram()
    for elapsed_ms in (0, 0, 1, 10, 11, 999, 10_001):
        histogram.add(elapsed_ms)
    text = histogram.distribution_text()
    assert text.startswith("[<=0ms]:2 [0~10ms]:2 [10~50ms]:1 ")
    assert "[500ms~1s]:1" in text
    assert text.endswith("[10s~]:1")
    histogram.add(50, 3)
    assert "[10~50ms]:4 " in histogram.distribution_text()
    assert histogram.percentile(0.5) == 50.0
    assert LatencyHistogram().percentile(0.99) == 0.0


@pytest.mark.parametrize("unique_key", ["AC10000100002A9F4E0E2F2A68AA0001", None])
async def test_messages_of_the_brokers_own_topics_are_no_users(unique_key: str | None) -> None:
    """Also those named as the broker and its cluster, whichever way the send takes."""
    async with BrokerRig() as rig:
        stats = rig.context.stats
        for topic, user in (("T", 1), ("broker-a", 0), ("DefaultCluster", 0), ("BenchmarkTest", 0), ("T", 1)):
            all_before, users_before = stats.put_total, stats.user_put_total
            answer = await rig.send(topic, unique_key=unique_key)
            assert answer.code == 0
            assert (stats.put_total - all_before, stats.user_put_total - users_before) == (1, user), topic
