"""The wall clock of a broker jumps by hours while it is loaded, and time that passes is measured all the same.

The clock jumps below the broker, in the C library (a preloaded shim). Senders send all the while; a queue is locked, a
pull is held and clients fall silent before a jump, and each of them must end when its time is over by the machine's
monotonic clock: not before, and not hours later. Then the process is killed, its clock jumps the other way, and what was
acknowledged is there, in an order in which store times never go back.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gantry.model import ConsumerData, HeartbeatData, MessageQueue, ProducerData
from gantry.protocol import json_dialect
from gantry.protocol.remoting import RemotingCommand
from gantry.protocol.remoting.body.lock_batch import LockBatchBody, decode_lock_batch_response
from gantry.protocol.remoting.codes import RequestCode, ResponseCode
from gantry.protocol.remoting.header.get_max_offset import GetMaxOffsetRequestHeader
from gantry.runtime.system_disk import SystemDisk
from gantry.store.fsck import check_store
from gantry.store.inspect import iterate_log
from tests.crash.history import History
from tests.crash.load import QUEUES, TOPIC, Connection, pull_request, read_queue, send_request, send_until_closed
from tests.crash.record import record
from tests.crash.retention import log_files
from tests.interop.cluster import LOCK_LIVE_MS, GantryBroker

HOUR_MS = 3_600_000
QUIET = QUEUES - 1
"""A queue that has one message and gets no other."""
HOLD_MS = 2_000
SILENT_MS = 11_000
SCAN_MS = 10_000
"""Brokers look for silent clients so often. SILENT_MS is longer: each look after a jump would find one too early."""
SLACK_MS = 10_000
"""For a machine that is busy; a clock that misses a jump is off by hours."""
SETTINGS = {
    "mappedFileSizeCommitLog": 4 << 20,
    "defaultTopicQueueNums": QUEUES,
    "channelExpiredTimeout": SILENT_MS,
}
Answer = Coroutine[Any, Any, RemotingCommand]
FORTH, BACK = (3, 8, 30), (-2, -9, -30)


class JumpingBroker(GantryBroker):
    """A broker whose wall clock is what the machine's is, and some hours."""

    shim = Path()
    more_environment: dict[str, str] = {}

    @property
    def clock_file(self) -> Path:
        return self.folder / "clock"

    def jump_to(self, hours: float) -> None:
        """The wall clock of the process is ahead by so much from now on."""
        with self.clock_file.open("r+b" if self.clock_file.exists() else "wb") as file:
            os.pwrite(file.fileno(), struct.pack("=q", int(hours * HOUR_MS)), 0)

    def environment(self) -> dict[str, str]:
        own = {"LD_PRELOAD": str(self.shim), "JUMPING_CLOCK": str(self.clock_file)}
        return {**super().environment(), **own, **self.more_environment}


def monotonic_ms() -> float:
    return time.monotonic() * 1000


class Jump:
    """What `parties` wait for together: the clock jumps, and then on to each of the other hours."""

    def __init__(self, broker: JumpingBroker, hours: tuple[int, ...], parties: int) -> None:
        self._broker, self._hours = broker, hours
        self._ready = asyncio.Barrier(parties + 1)

    async def happens(self) -> None:
        if await self._ready.wait() == 0:
            self._broker.jump_to(self._hours[0])
        await self._ready.wait()

    async def and_goes_on(self) -> None:
        await self.happens()
        for hours in self._hours[1:]:
            await asyncio.sleep(0.7)
            self._broker.jump_to(hours)


async def queue_is_locked(port: int, jump: Jump) -> None:
    """O5: a lock is its owner's until its time is over, and then anybody's."""

    async def lock(connection: Connection, client_id: str) -> bool:
        body = LockBatchBody("orderly", client_id, mq_set=[MessageQueue(TOPIC, "broker-a", 0)])
        answer = await connection.ask(RemotingCommand.request(RequestCode.LOCK_BATCH_MQ, json_dialect.encode(body)))
        return bool(decode_lock_batch_response(answer.body).lock_ok_mq_set)

    owner, other = await Connection.open(port), await Connection.open(port)
    try:
        asked = monotonic_ms()
        assert await lock(owner, "owner")
        granted = monotonic_ms()
        await jump.happens()
        while True:
            again = monotonic_ms()
            if await lock(other, "other"):
                break
            assert again < granted + LOCK_LIVE_MS + 2, f"a lock of {LOCK_LIVE_MS} ms is held after {again - granted:.0f} ms"
            await asyncio.sleep(0.02)
        lived = monotonic_ms() - asked
        assert lived > LOCK_LIVE_MS, f"a lock of {LOCK_LIVE_MS} ms was void after {lived:.0f} ms"
    finally:
        owner.close()
        other.close()


async def pull_is_held(port: int, jump: Jump) -> None:
    """A pull that finds nothing waits as long as it asked for."""
    connection = await Connection.open(port)
    try:
        begun = monotonic_ms()
        pull = connection.begin(pull_request(QUIET, 1, hold_ms=HOLD_MS))
        # Requests of a connection are begun in order: when this one is answered, the pull is held.
        behind = connection.begin(RemotingCommand.request(GetMaxOffsetRequestHeader(topic=TOPIC, queue_id=QUIET)))
        assert (await connection.answer()).opaque == behind
        await jump.happens()
        answer = await ends(connection.answer(), begun, HOLD_MS, HOLD_MS + SLACK_MS, "a pull is held")
        assert (answer.opaque, answer.code) == (pull, ResponseCode.PULL_NOT_FOUND)
    finally:
        connection.close()


async def client_falls_silent(port: int, jump: Jump, data: HeartbeatData) -> None:
    """A client is closed when it has sent no heartbeat for the time allowed, at the next look."""
    connection = await Connection.open(port)
    try:
        begun = monotonic_ms()
        answer = await connection.ask(RemotingCommand.request(RequestCode.HEART_BEAT, json_dialect.encode(data)))
        assert answer.code == 0, answer.remark
        await jump.happens()
        with pytest.raises(ConnectionResetError):
            await ends(connection.answer(), begun, SILENT_MS, SILENT_MS + SCAN_MS + SLACK_MS, f"{data.client_id} is known")
    finally:
        connection.close()


async def ends(waiting: Answer, begun: float, least: int, most: int, what: str) -> RemotingCommand:
    """What comes, a value or an error, after more than `least` ms since `begun` and within about `most`."""
    task = asyncio.ensure_future(waiting)
    try:
        done, _ = await asyncio.wait({task}, timeout=most / 1000)
    finally:
        task.cancel()
    taken = monotonic_ms() - begun
    assert done, f"{what} still after {taken:.0f} ms, {most} are the most"
    error = task.exception()
    assert taken > least, f"{what} for {taken:.0f} ms only, {least} are due"
    if error is not None:
        raise error
    return task.result()


async def send_one(port: int, body: bytes) -> None:
    connection = await Connection.open(port)
    try:
        assert (await connection.ask(send_request(body, QUIET, 9 << 32))).code == 0
    finally:
        connection.close()


async def load_and_jump(broker: JumpingBroker, history: History, hours: tuple[int, ...]) -> None:
    """The clock jumps under load and leases, and is right again in the end; the broker is killed while it is loaded."""
    port, numbers = broker.port, [0] * QUIET
    await send_one(port, b"s9 0 first")
    senders = [asyncio.create_task(send_until_closed(port, sender, sender, numbers, history, 500)) for sender in range(QUIET)]
    producer = HeartbeatData("producer", producer_data_set=[ProducerData("silent_producers")])
    consumer = HeartbeatData("consumer", consumer_data_set=[ConsumerData("silent_consumers")])
    jump = Jump(broker, hours, 4)
    await asyncio.gather(
        queue_is_locked(port, jump),
        pull_is_held(port, jump),
        client_falls_silent(port, jump, producer),
        client_falls_silent(port, jump, consumer),
        jump.and_goes_on(),
    )
    broker.jump_to(0)
    goal, limit = len(history.acknowledged) + 500, time.monotonic() + 30
    while len(history.acknowledged) < goal:
        assert time.monotonic() < limit, "sends are not acknowledged any more"
        assert not any(sender.done() for sender in senders), "a connection was closed"
        await asyncio.sleep(0.005)
    await asyncio.to_thread(broker.kill)
    await asyncio.gather(*senders)


def check_store_times(store: Path, hours: tuple[int, ...]) -> None:
    """F13: in the order of the log they never go back; and the clock did jump, or nothing was tested."""
    found = [item.record for path in log_files(store) for item in iterate_log(SystemDisk(), str(path))]
    times = [item.store_timestamp for item in found if item is not None]
    steps = [after - before for before, after in pairwise(times)]
    assert min(steps) >= 0, f"store time goes back by {-min(steps)} ms behind record {steps.index(min(steps))} of {len(times)}"
    # Forth: the first jump is seen as a step. Back: store time stands still meanwhile.
    assert max(steps) > (hours[0] * HOUR_MS * 0.9 if hours[0] > 0 else SILENT_MS), "the clock did not jump"


def run_and_compare(broker: JumpingBroker, history: History, hours: tuple[int, ...]) -> None:
    broker.jump_to(0)
    try:
        broker.start()
        asyncio.run(load_and_jump(broker, history, hours))
        broker.jump_to(-hours[-1])
        broker.start()
        for queue_id in range(QUIET):
            first, bodies = asyncio.run(read_queue(broker.port, queue_id))
            history.check_queue(queue_id, first, bodies, kept=0, seed=0)
        asyncio.run(send_one(broker.port, b"s9 1 last"))
    finally:
        if broker.running:
            broker.kill()
    check_store_times(broker.store, hours)
    assert check_store(SystemDisk(), str(broker.store)) == []


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("flush", "hours"), [("ASYNC_FLUSH", FORTH), ("SYNC_FLUSH", BACK)])
def test_time_passes_as_ever_while_the_wall_clock_jumps(
    flush: str, hours: tuple[int, ...], clock_shim: Path, tmp_path: Path
) -> None:
    broker, history = JumpingBroker(tmp_path, "", settings={**SETTINGS, "flushDiskType": flush}), History()
    broker.shim = clock_shim
    run_and_compare(broker, history, hours)
    acknowledged = len(history.acknowledged)
    record("wall clock jumps", flush=flush, times=len(hours) + 2, acknowledged=acknowledged, lost=0, seed=0)
