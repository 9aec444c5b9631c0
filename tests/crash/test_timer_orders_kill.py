"""kill -9 of a real broker right after timers were cancelled and moved, and again and again while messages come by cron."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gantry.client.doors import Doors
from gantry.model import MessageExt
from gantry.protocol import json_dialect
from gantry.protocol.message.record import decode_records
from gantry.protocol.remoting import RemotingCommand
from gantry.protocol.remoting.body.timers import TimerChanges
from gantry.protocol.remoting.header.base import RequestHeader
from gantry.protocol.remoting.header.cancel_timers import CancelTimersRequestHeader
from gantry.protocol.remoting.header.create_recurring_timer import CreateRecurringTimerRequestHeader
from gantry.protocol.remoting.header.reschedule_timers import RescheduleTimersRequestHeader
from gantry.runtime.remoting_client import RemotingClient
from tests.interop.cluster import GantryBroker
from tests.unit.broker.broker_rig import pull_request, send_request

TOPIC = "T"
COUNT = 20
WAIT_S = 60


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def ask(broker: GantryBroker, *requests: RequestHeader | RemotingCommand, body: bytes = b"") -> list[RemotingCommand]:
    """Their answers, all of them successes; one connection."""
    doors = Doors.system()
    client = RemotingClient(doors.net, doors.clock)
    try:
        answers = []
        for request in requests:
            command = request if isinstance(request, RemotingCommand) else RemotingCommand.request(request, body)
            answer = await client.invoke(broker.address, command, 30_000)
            assert answer.code == 0, answer.remark
            answers.append(answer)
        return answers
    finally:
        await client.close()


async def everything(broker: GantryBroker) -> list[MessageExt]:
    """All messages of the one queue that is used."""
    doors = Doors.system()
    client = RemotingClient(doors.net, doors.clock)
    found: list[MessageExt] = []
    try:
        while True:
            answer = await client.invoke(broker.address, pull_request(TOPIC, 0, len(found)), 30_000)
            if answer.code != 0:
                return found
            found += decode_records(answer.body)
    finally:
        await client.close()


def timed(number: int, due_ms: int) -> RemotingCommand:
    properties = {"UNIQ_KEY": f"ID-{number}", "KEYS": f"k{number}", "TIMER_DELIVER_MS": str(due_ms)}
    return send_request(TOPIC, str(number).encode(), queue_id=0, properties=properties)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("flush", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_what_was_acknowledged_before_a_kill_holds(flush: str, tmp_path: Path) -> None:
    broker = GantryBroker(tmp_path, "", settings={"flushDiskType": flush})
    try:
        asyncio.run(_kills(broker))
    finally:
        broker.close()


async def _kills(broker: GantryBroker) -> None:
    down: list[tuple[int, int]] = []

    def kill_and_start() -> None:
        begin = now_ms()
        broker.kill()
        broker.start()
        down.append((begin, now_ms()))

    broker.start()
    await ask(broker, send_request(TOPIC, b"first", queue_id=0, properties={"UNIQ_KEY": "first"}))
    due_ms = now_ms() + 20_000
    await ask(broker, *(timed(number, due_ms + number * 100) for number in range(COUNT)))
    cron = CreateRecurringTimerRequestHeader(name="job", topic=TOPIC, cron="* * * * * *", queue_id=0)
    await ask(broker, cron, body=b"tick")
    gone = {str(number) for number in range(0, COUNT, 2)}
    answers = await ask(broker, *(CancelTimersRequestHeader(topic=TOPIC, key=f"k{number}") for number in sorted(gone)))
    kill_and_start()
    outcomes = [change.outcome for each in answers for change in json_dialect.decode_as(each.body, TimerChanges).changes]
    assert outcomes == ["cancelled"] * len(gone)
    moved_ms = due_ms + 8_000
    moved = [RescheduleTimersRequestHeader(topic=TOPIC, key=f"k{number}", deliver_ms=moved_ms) for number in (1, 3)]
    await ask(broker, *moved)
    kill_and_start()
    for pause_s in itertools.chain([1.3, 2.1, 0.4, 1.7], itertools.repeat(3.0)):
        await asyncio.sleep(pause_s)  # how long a broker lives, not a wait for something
        if now_ms() > moved_ms - 2_000:
            break
        kill_and_start()
    wanted = {str(number) for number in range(COUNT)} - gone
    begin_s = time.monotonic()
    while True:
        messages = await everything(broker)
        last_tick = max((int(each.properties["CRON_TIME_MS"]) for each in messages if each.body == b"tick"), default=0)
        if {each.body.decode() for each in messages} >= wanted and last_tick > moved_ms + 2_000:
            break
        assert time.monotonic() - begin_s < WAIT_S, sorted(wanted - {each.body.decode() for each in messages})
        await asyncio.sleep(0.2)
    _check(messages, wanted, down, due_ms, moved_ms)


def _check(messages: list[MessageExt], wanted: set[str], down: list[tuple[int, int]], due_ms: int, moved_ms: int) -> None:
    timers = [each for each in messages if each.body not in (b"first", b"tick")]
    assert Counter(each.body.decode() for each in timers) == Counter(wanted)
    for each in timers:
        number = int(each.body)
        assert each.store_timestamp >= (moved_ms if number in (1, 3) else due_ms + number * 100)
    ticks: list[Any] = sorted(int(each.properties["CRON_TIME_MS"]) for each in messages if each.body == b"tick")
    assert len(set(ticks)) == len(ticks), "a time came twice"
    missing = set(range(ticks[0], ticks[-1], 1000)) - set(ticks)
    # A time is missed only when nobody was there to store its message: from a second before a kill to a second after the start.
    unexplained = [at for at in missing if not any(begin - 1000 <= at <= end + 1000 for begin, end in down)]
    assert not unexplained, (unexplained, down)
