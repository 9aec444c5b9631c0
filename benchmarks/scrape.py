"""What a scrape of a broker with very many topics costs, and how long it keeps others waiting.

    python -m benchmarks.scrape [--topics N] [--queues N] [--rounds N] [--json FILE]

One process: a broker with every queue written to, a group that listens to every topic and has read nothing, and a watch that
takes the longest turn of the loop, in processor time. Medians of the rounds, with and without a scrape.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import time
from pathlib import Path

from gantry._core import ACCEL
from gantry.broker.metrics import NORMAL
from gantry.model import StoreMessage, TopicConfig
from gantry.model.heartbeat import CLUSTERING, CONSUME_PASSIVELY, ConsumerData, HeartbeatData
from gantry.protocol import json_dialect
from gantry.protocol.filter import build_subscription
from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.remoting_client import RemotingClient
from gantry.testing.cluster import LocalCluster


async def fill(cluster: LocalCluster, topics: list[str], queues: int) -> None:
    """Topics and a message in each of their queues, past the network: a scrape does not see which way they came."""
    context = cluster.server.broker.context
    context.topics.update_all(
        [TopicConfig(topic_name=name, read_queue_nums=queues, write_queue_nums=queues) for name in topics]
    )
    host = ("127.0.0.1", 10911)
    for name in topics:
        for queue_id in range(queues):
            message = StoreMessage(name, queue_id, b"x" * 100, b"", 0, 0, 1_700_000_000_000, host, host)
            record = (await context.store.put(message)).records[0]
            context.metrics.message_in(name, NORMAL, 1, record.size)


async def listen(cluster: LocalCluster, topics: list[str]) -> RemotingClient:
    client = RemotingClient(cluster.doors.net, cluster.doors.clock)
    subscriptions = [build_subscription(topic, "*", "TAG", sub_version=1) for topic in topics]
    data = HeartbeatData(
        client_id="bench",
        consumer_data_set=[
            ConsumerData(
                group_name="bench",
                consume_type=CONSUME_PASSIVELY,
                message_model=CLUSTERING,
                subscription_data_set=subscriptions,
            )
        ],
    )
    answer = await client.invoke(
        cluster.broker_address, RemotingCommand.request(RequestCode.HEART_BEAT, json_dialect.encode(data)), 30_000
    )
    assert answer.code == 0, answer.remark
    offsets = cluster.server.broker.context.offsets
    for topic in topics:
        for queue_id in range(cluster.server.broker.context.topics.table[topic].write_queue_nums):
            offsets.commit("bench", topic, queue_id, 0)
    return client


async def watched(work: asyncio.Future[bytes] | None, seconds: float) -> tuple[float, float, int]:
    """Longest turn of the loop in ms of processor time, time of the work in ms, bytes."""
    longest, began, before = 0.0, time.perf_counter(), time.thread_time()
    while time.perf_counter() - began < seconds if work is None else not work.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, before = max(longest, now - before), now
    return longest * 1000, (time.perf_counter() - began) * 1000, 0 if work is None else len(work.result())


async def measure(topic_count: int, queues: int, rounds: int) -> dict[str, object]:
    settings = {
        "metricsExporterType": "PROM",
        "metricsPromExporterPort": "0",
        "metricsPromExporterHost": "127.0.0.1",
        "defaultTopicQueueNums": str(queues),
        "metricsOtelCardinalityLimit": "1000000",
    }
    async with LocalCluster(broker=settings) as cluster:
        topics = [f"Topic{number}" for number in range(topic_count)]
        await fill(cluster, topics, queues)
        client = await listen(cluster, topics)
        exporter = cluster.server.broker._metrics_exporter
        assert exporter is not None
        idle, scraped, times, processor = [], [], [], []
        size = 0
        for _ in range(rounds):
            idle.append((await watched(None, 1.0))[0])
            used = resource.getrusage(resource.RUSAGE_SELF)
            longest, took, size = await watched(asyncio.ensure_future(exporter.page()), 0)
            after = resource.getrusage(resource.RUSAGE_SELF)
            scraped.append(longest)
            times.append(took)
            processor.append((after.ru_utime - used.ru_utime + after.ru_stime - used.ru_stime) * 1000)
        await client.close()
    return {
        "core": ACCEL,
        "topics": topic_count,
        "queues": topic_count * queues,
        "page_bytes": size,
        "page_ms": statistics.median(times),
        "processor_ms": statistics.median(processor),
        "longest_turn_ms": statistics.median(scraped),
        "longest_turn_ms_worst": max(scraped),
        "longest_turn_ms_idle": statistics.median(idle),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topics", type=int, default=5_000)
    parser.add_argument("--queues", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found = asyncio.run(measure(chosen.topics, chosen.queues, chosen.rounds))
    for name, value in found.items():
        print(f"{name:24} {value:.1f}" if isinstance(value, float) else f"{name:24} {value}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
