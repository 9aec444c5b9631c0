"""kill -9 of a broker while transactions end, many at once, answered and not: each commit is there once, no rollback ever.

A half whose end was answered before the kill keeps that end. One whose end was on its way has it or has not, and
one without is ended by its sender, at the place it knows, when the broker is back. No half is ended twice by its sender, so
whatever is there twice is the broker's doing; and whoever ends a half the other way later is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from gantry.model import sys_flag
from gantry.protocol.message.message_id import decode_offset_msg_id
from gantry.protocol.remoting import RemotingCommand
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.header.end_transaction import EndTransactionRequestHeader
from gantry.runtime.system_disk import SystemDisk
from gantry.store.fsck import check_store
from tests.crash.cycles import run_cycles
from tests.crash.load import QUEUES, TOPIC, Connection, read_queue, send_request
from tests.crash.record import record
from tests.interop.cluster import GantryBroker

CYCLES = max(int(os.environ.get("GANTRY_KILL_CYCLES", "50")) // 10, 2)
ENDED_MIN = 1_500
CONNECTIONS = 6
WINDOW = 24
GROUP = "crash_transactions"
COMMIT, ROLLBACK = sys_flag.TRANSACTION_COMMIT, sys_flag.TRANSACTION_ROLLBACK
SETTINGS = {
    "mappedFileSizeCommitLog": 1024 * 1024,
    "mappedFileSizeConsumeQueue": 20 * 100,
    "maxHashSlotNum": 400,
    "maxIndexNum": 1_600,
    "flushConsumeQueueThoroughInterval": 50,
    "transactionTimeOut": 3_600_000,  # nobody is asked: what is there, an end of its sender has made
    "transactionOpBatchInterval": 200,
    "defaultTopicQueueNums": QUEUES,
}

Place = tuple[int, int]
"""Queue offset of a half, and its physical offset."""


@pytest.mark.slow
@pytest.mark.timeout(max(600, 60 * CYCLES))
@pytest.mark.parametrize("flush", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_each_transaction_ends_once_over_kill_after_kill(flush: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("GANTRY_SEED", "0")) or random.randrange(1 << 32)
    print(f"seed {seed}")
    loop = Transactions(GantryBroker(tmp_path, "", settings={**SETTINGS, "flushDiskType": flush}), seed)
    run_cycles(loop, CYCLES)
    assert len(loop.certain) >= CYCLES * ENDED_MIN
    assert loop.open_at_a_kill > 0, "no kill came between a half and its end"
    record("kill -9, transactions", flush=flush, times=CYCLES, acknowledged=len(loop.certain), lost=0, seed=seed)
    print(f"{CYCLES} kills, {len(loop.certain)} ends answered, {len(loop.uncertain)} on their way at a kill")


class Transactions:
    def __init__(self, broker: GantryBroker, seed: int) -> None:
        self.broker = broker
        self.seed = seed
        self.certain: dict[int, int] = {}
        """Number of a transaction and the end that was answered."""
        self.uncertain: dict[int, int] = {}
        """Those whose end had no answer, one-way or for the kill."""
        self.open: dict[int, Place] = {}
        """Halves that were answered and have no end yet."""
        self.places: dict[int, Place] = {}
        self.open_at_a_kill = 0
        self._rng = random.Random(seed)
        self._number = 0

    def cycle(self) -> None:
        asyncio.run(self._load_and_kill())
        self.open_at_a_kill += len(self.open)
        self.broker.start()
        asyncio.run(self._end_what_is_open())
        asyncio.run(self._compare())
        faults = check_store(SystemDisk(), str(self.broker.store))
        assert not faults, f"seed {self.seed}: " + "; ".join(faults[:5])

    async def _load_and_kill(self) -> None:
        goal = len(self.certain) + ENDED_MIN + self._rng.randrange(500)
        senders = [asyncio.create_task(self._send_until_closed()) for _ in range(CONNECTIONS)]
        limit = time.monotonic() + 120
        while len(self.certain) < goal:
            assert time.monotonic() < limit, f"only {len(self.certain)} of {goal} ends were answered, seed {self.seed}"
            await asyncio.sleep(0.001)
        await asyncio.sleep(self._rng.random() * 0.02)
        await asyncio.to_thread(self.broker.kill)
        await asyncio.gather(*senders)

    async def _send_until_closed(self) -> None:
        """Keeps so many transactions under way on one connection."""
        with contextlib.suppress(OSError):
            connection = await Connection.open(self.broker.port)
            halves: dict[int, int] = {}
            ends: dict[int, int] = {}
            try:
                while True:
                    while len(halves) + len(ends) < WINDOW:
                        self._number += 1
                        halves[connection.begin(half_request(self._number))] = self._number
                    answer = await connection.answer()
                    assert answer.code == 0, f"{answer.code} {answer.remark}, seed {self.seed}"
                    number = halves.pop(answer.opaque, 0)
                    if not number:
                        number = ends.pop(answer.opaque)
                        self.certain[number] = self.uncertain.pop(number)
                        continue
                    place = self.places[number] = place_of(answer)
                    if self._rng.random() < 0.01:
                        self.open[number] = place
                        continue
                    outcome = outcome_of(number)
                    request = end_request(place, outcome)
                    self.uncertain[number] = outcome
                    if number % 3 == 0:
                        request.mark_oneway()
                        connection.begin(request)
                    else:
                        ends[connection.begin(request)] = number
            finally:
                connection.close()

    async def _end_what_is_open(self) -> None:
        connection = await Connection.open(self.broker.port)
        # Of the last ones before the kill the broker may know least.
        doubted = [*list(self.certain)[-100:], *self._rng.sample(sorted(self.certain), 20)]
        try:
            for number, place in self.open.items():
                outcome = outcome_of(number)
                answer = await connection.ask(end_request(place, outcome))
                assert answer.code == 0, f"transaction {number} cannot be ended after the kill: {answer}, seed {self.seed}"
                self.certain[number] = outcome
            self.open = {}
            for number in doubted:
                other = ROLLBACK if self.certain[number] == COMMIT else COMMIT
                answer = await connection.ask(end_request(self.places[number], other))
                assert answer.code == ResponseCode.ILLEGAL_OPERATION, f"transaction {number} ends twice, seed {self.seed}"
        finally:
            connection.close()

    async def _compare(self) -> None:
        seen = Counter[int]()
        for queue_id in range(QUEUES):
            for body in (await read_queue(self.broker.port, queue_id))[1]:
                seen[int(body)] += 1
        where = f"seed {self.seed}"
        twice = [number for number, times in seen.items() if times > 1]
        assert not twice, f"committed twice: {twice[:5]}, {where}"
        lost = [number for number, outcome in self.certain.items() if outcome == COMMIT and number not in seen]
        assert not lost, f"committed, and not there: {lost[:5]}, {where}"
        ends = {**self.uncertain, **self.certain}
        wrong = [number for number in seen if ends.get(number) != COMMIT]
        assert not wrong, f"there, and not committed: {wrong[:5]}, {where}"


def outcome_of(number: int) -> int:
    return ROLLBACK if number % 5 == 0 else COMMIT


def half_request(number: int) -> RemotingCommand:
    request = send_request(b"%d" % number, number % QUEUES, number)
    fields = request.ext_fields
    assert fields is not None
    fields["f"] = str(sys_flag.TRANSACTION_PREPARED)
    fields["i"] += f"TRAN_MSG\x01true\x02PGROUP\x01{GROUP}\x02"
    return request


def place_of(answer: RemotingCommand) -> Place:
    fields = answer.ext_fields or {}
    return int(fields["queueOffset"]), decode_offset_msg_id(fields["msgId"])[1]


def end_request(place: Place, outcome: int) -> RemotingCommand:
    header = EndTransactionRequestHeader(
        topic=TOPIC,
        producer_group=GROUP,
        tran_state_table_offset=place[0],
        commit_log_offset=place[1],
        commit_or_rollback=outcome,
        from_transaction_check=False,
        msg_id="0",
        transaction_id="0",
    )
    return RemotingCommand.request(header)
