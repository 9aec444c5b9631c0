"""Many timers on a store in memory, spread over an hour of virtual time: none early, none lost, none later than a second.

.venv/bin/python -m tests.simulation.timers --count 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from typing import Any

from gantry.broker import BrokerConfig
from gantry.broker.timer import TimerMessageService
from gantry.broker.timer.deliver_time import to_timer_topic
from gantry.model import StoreMessage, topic_validator
from gantry.protocol.message.properties import encode_properties, find_property
from gantry.protocol.message.record import RecordView
from gantry.runtime.system_disk import SystemDisk
from gantry.store import GetResult, MessageStore
from gantry.store.config import StoreConfig
from gantry.testing import SeededRng, VirtualClock

TOPIC, QUEUES = "T", 4
PRECISION_MS = 1_000
PLAN_COUNT = 500


async def spread(root: str, count: int, hour_ms: int = 3_600_000) -> dict[str, Any]:
    """Sends `count` timers due at random ms of an hour, lets the hour pass, and looks at each. Returns figures.

    Raises: AssertionError for one that is early, late, lost or doubled.
    """
    clock, disk, rng = VirtualClock(), SystemDisk(), SeededRng(7)
    # An hour passes in seconds: a checkpoint in each of its seconds would measure the syncs of this machine alone.
    config = BrokerConfig(store_path_root_dir=root, timer_flush_interval_ms=60_000)
    store = MessageStore(
        StoreConfig(root, clean_resource_interval=1 << 40),
        disk=disk,
        clock=clock,
        rng=rng,
        on_arrive=lambda *_: timer.message_arrived(),
    )
    timer = TimerMessageService(config, disk, clock, store, root=root, directory=f"{root}/config")
    store.watch(topic_validator.TIMER_TOPIC, 0, True)
    figures: dict[str, Any] = {"timers": count}
    await store.load()
    await store.start()
    await timer.start()
    begun = clock.now_ms()
    due = [begun + 1_000 + rng.randrange(hour_ms) for _ in range(count)]
    started = time.perf_counter()
    for first in range(0, count, PLAN_COUNT):
        plan = store.new_plan()
        for number in range(first, min(first + PLAN_COUNT, count)):
            properties = {"UNIQ_KEY": f"{number:08d}", "TIMER_DELIVER_MS": str(due[number])}
            waiting = to_timer_topic(
                properties, TOPIC, number % QUEUES, now_ms=begun, precision_ms=PRECISION_MS, delay_max_ms=2 * hour_ms
            )
            assert waiting is not None
            plan.add(
                StoreMessage(
                    waiting.topic,
                    0,
                    b"%d" % number,
                    encode_properties(properties),
                    born_host=("10.0.0.1", 5),
                    store_host=("10.0.0.2", 9),
                )
            )
        store.write(plan)
        store.commit(plan)
        await asyncio.sleep(0)
    await until(lambda: timer.enter_behind_count == 0)
    figures["sent and entered, s"] = round(time.perf_counter() - started, 1)
    figures["memory after entering, MB"] = _memory_mb()
    started = time.perf_counter()
    late_max = 0
    for _ in range(hour_ms // 1_000 + 2):
        clock.advance_ms(1_000)
        await until(lambda: timer.book.read_time_ms >= timer.book.floor(clock.now_ms()))
    figures["fired, s"] = round(time.perf_counter() - started, 1)
    seen = bytearray(count)
    for queue_id in range(QUEUES):
        offset, end = 0, store.max_offset(TOPIC, queue_id)
        while offset < end:
            reading = store.get(TOPIC, queue_id, offset, 512)
            result = reading if isinstance(reading, GetResult) else await reading
            for record in result.views:
                view = RecordView(record)
                number = int(bytes(view.body))
                fired = int(find_property(view.properties, b"TIMER_DEQUEUE_MS") or b"0")
                late = fired - due[number]
                assert 0 <= late <= PRECISION_MS, f"timer {number} came {late} ms after it was due"
                assert not seen[number], f"timer {number} came twice"
                seen[number] = 1
                late_max = max(late_max, late)
            offset = result.next_begin_offset
    assert sum(seen) == count, f"{count - sum(seen)} timers never came"
    figures["latest, ms"] = late_max
    figures["memory at the end, MB"] = _memory_mb()
    await timer.shutdown()
    await timer.save()
    await store.shutdown()
    disk.close()
    return figures


async def until(reached: Any) -> None:
    """Real work is under way in threads while virtual time stands still."""
    limit = time.monotonic() + 600
    while not reached():
        assert time.monotonic() < limit, "the timer came to a stand"
        await asyncio.sleep(0.0005)  # a loop that spins would keep the threads from their work


def _memory_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        for name, value in asyncio.run(spread(folder, asked.count)).items():
            print(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")


if __name__ == "__main__":
    main()
