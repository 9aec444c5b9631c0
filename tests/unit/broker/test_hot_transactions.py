"""Halves and their ends that the engine lays out: the processors' bytes, many ends in one write, and each of them once."""

from __future__ import annotations

import asyncio
import errno
import random
from typing import Any

import pytest

from gantry.protocol.message.message_id import decode_offset_msg_id
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand, decode_frame, encode_command
from gantry.testing import settle
from tests.hot_twins import cut
from tests.unit.broker.broker_rig import ROOT, send_request
from tests.unit.broker.test_hot_twins import Collector
from tests.unit.broker.transaction_rig import COMMIT, HALF, OPS, ROLLBACK, Sent, TransactionRig, end_request, killed, questions

LOG = f"{ROOT}/commitlog/00000000000000000000"


@pytest.fixture
async def rig() -> Any:
    async with TransactionRig() as rig:
        await rig.send("T")
        yield rig


async def connection(rig: TransactionRig) -> Collector:
    client = Collector()
    await rig.net.connect("127.0.0.1", rig.config.listen_port, lambda: client, 1000)
    return client


def end_frame(sent: Sent, outcome: int, *, oneway: bool = True, **fields: Any) -> bytes:
    request = RemotingCommand.request(end_request(sent, outcome, **fields))
    if oneway:
        request.mark_oneway()
    return encode_command(request)


def answers_in(client: Collector) -> list[tuple[int, int, str | None, dict[str, str]]]:
    """Code, opaque, remark and fields; these stand in another order when a processor answers."""
    commands = [decode_frame(frame) for frame in cut(bytes(client.data))]
    return [(command.code, command.opaque, command.remark, command.ext_fields or {}) for command in commands]


def log_bytes(rig: TransactionRig) -> bytes:
    file = rig.disk.open(LOG)
    try:
        return bytes(file.pread(rig.context.store.commit_log.wrote_offset, 0))
    finally:
        file.close()


def state(rig: TransactionRig) -> Any:
    """What transactions look like from outside."""
    ledger, metrics = rig.context.transactions.ledger, rig.context.transactions.metrics
    ledger.advance()
    return (
        (ledger.position, ledger.op_position, [ledger.is_over(offset) for offset in range(300)]),
        repr((metrics.half_messages, metrics.commits, metrics.rollbacks, metrics.finish_latency)),
        rig.context.stats.totals._replace(put_failed=0),
        [rig.context.store.max_offset(topic, queue) for topic, queue in (("T", 0), ("T", 1), (HALF, 0), (OPS, 0))],
    )


@pytest.mark.parametrize("settings", [{}, {"flush_disk_type": "SYNC_FLUSH"}, {"index_tags_enable": False}], ids=str)
async def test_engine_and_processors_write_and_answer_the_same(settings: dict[str, Any]) -> None:
    """One request at a time: log, answers and counts of the one are those of the other, byte for byte."""
    async with TransactionRig(**settings) as hot, TransactionRig(**settings) as cold:
        cold.controller._server._ingest_factory = None
        for rig in (hot, cold):
            await rig.send("T")
        rng = random.Random(3)
        clients = [await connection(hot), await connection(cold)]
        open_halves: list[Sent] = []
        for number in range(300):
            request = _random_request(rng, number, open_halves)
            for rig, client in zip((hot, cold), clients, strict=True):
                client.data.clear()
                client.transport.write(encode_command(request))
                await rig.clock.run_ms(7)
            answers = [answers_in(client) for client in clients]
            assert answers[0] == answers[1], request
            open_halves += [
                Sent(fields["transactionId"], int(fields["queueOffset"]), decode_offset_msg_id(fields["msgId"])[1])
                for *_, fields in answers[0]
                if "msgId" in fields
            ]
            assert log_bytes(hot) == log_bytes(cold), request
        assert state(hot) == state(cold)
        assert sum(hot.context.transactions.metrics.commits.values()) > 60
        assert sum(hot.context.transactions.metrics.rollbacks.values()) > 10


def _random_request(rng: random.Random, number: int, open_halves: list[Sent]) -> RemotingCommand:
    kind = rng.randrange(2)
    if not open_halves or rng.random() < 0.5:
        request = send_request(
            "T",
            rng.randbytes(rng.randrange(50)),
            queue_id=rng.randrange(2),
            properties={
                "TRAN_MSG": "true", "PGROUP": "producers", "KEYS": "a b", "TAGS": rng.choice(("A", "Ä")), "x": '"quoted"',
            },
            unique_key=f"KEY{number}",
            sys_flag=4,
            flag=rng.randrange(3),
            serialize_type=kind,
        )  # fmt: skip
    else:
        half = rng.choice(open_halves)
        if rng.random() < 0.7:
            open_halves.remove(half)
        request = RemotingCommand.request(end_request(half, rng.choice((COMMIT, COMMIT, COMMIT, ROLLBACK))))
        request.serialize_type = kind
        if rng.random() < 0.5:
            request.mark_oneway()
    request.opaque = number
    return request


async def test_the_engine_takes_halves_and_ends(rig: TransactionRig) -> None:
    """Otherwise what the other tests show would be the processors' doing."""
    seen: list[int] = []
    rig.context.transactions.half_stored = lambda topic: seen.append(1)  # type: ignore[method-assign]
    sent = [await rig.half(b"%d" % number) for number in range(4)]
    processors = rig.context.transactions.endings
    processors.commit = processors.rollback = None  # type: ignore[assignment, method-assign]
    client = await connection(rig)
    client.transport.write(b"".join(end_frame(half, COMMIT) for half in sent[:2]) + end_frame(sent[2], ROLLBACK, oneway=False))
    await settle()
    assert not seen
    assert await rig.bodies() == [b"0", b"1"]
    assert (await rig.end(sent[3], COMMIT)).code == 0
    assert len(client.data) > 0


async def test_ends_of_one_read_are_one_write(rig: TransactionRig) -> None:
    """Copies, and the op message that the rollbacks among them ask for, go into the log together."""
    sent = [await rig.half(b"%d" % number) for number in range(40)]
    client = await connection(rig)
    steps, ops_before = rig.disk.step_count, rig.context.store.max_offset(OPS, 0)
    client.transport.write(b"".join(end_frame(half, ROLLBACK if n % 10 == 9 else COMMIT) for n, half in enumerate(sent)))
    await settle()
    assert rig.disk.step_count == steps + 1
    assert await rig.bodies() == [b"%d" % number for number in range(40) if number % 10 != 9]
    assert rig.context.store.max_offset(OPS, 0) == ops_before + 1, "all of them in one op message"
    (op,) = await rig.messages(OPS, 0, ops_before)
    assert op.body == b"".join(b"%d," % half.queue_offset for half in sent)
    ledger = rig.context.transactions.ledger
    ledger.advance()
    assert (ledger.position, ledger.op_position) == (40, ops_before + 1)
    assert rig.context.transactions.metrics.half_message_count == 0


async def test_of_two_ends_in_one_read_the_first_holds(rig: TransactionRig) -> None:
    first, second = await rig.half(b"yes"), await rig.half(b"no")
    client = await connection(rig)
    client.transport.write(
        end_frame(first, COMMIT)
        + end_frame(first, ROLLBACK)
        + end_frame(first, COMMIT)
        + end_frame(second, ROLLBACK)
        + end_frame(second, COMMIT)
    )
    await settle()
    assert await rig.bodies() == [b"yes"]
    metrics = rig.context.transactions.metrics
    assert (metrics.commits, metrics.rollbacks, metrics.half_message_count) == ({"T": 1}, {"T": 1}, 0)
    assert (await rig.end(second, COMMIT)).code == ResponseCode.ILLEGAL_OPERATION


async def test_a_full_disk_refuses_all_ends_of_a_turn_and_forgets_none(rig: TransactionRig) -> None:
    sent = [await rig.half(b"%d" % number) for number in range(6)]
    client = await connection(rig)
    before = state(rig)
    rig.disk.fail("pwrite", error=errno.ENOSPC, path_part="commitlog")
    frames = b"".join(end_frame(half, ROLLBACK if n == 3 else COMMIT, oneway=False) for n, half in enumerate(sent))
    client.transport.write(frames)
    await settle()
    assert client.data.count(b"Service not available now.") == 6
    assert state(rig) == before
    assert rig.context.stats.totals.put_failed == 6
    assert await rig.bodies() == []
    await rig.clock.run_ms(2_000)
    client.transport.write(frames)
    await settle()
    assert await rig.bodies() == [b"0", b"1", b"2", b"4", b"5"]
    assert rig.context.transactions.metrics.rollbacks == {"T": 1}


async def test_an_end_in_the_open_plan_comes_before_what_a_check_decides(rig: TransactionRig) -> None:
    """A round that has read a half as open while its commit waits for the end of the turn: it is not appended again."""
    producer = await rig.producer()
    sent = await rig.half(b"once")
    await rig.clock.run_ms(7_000)
    client, checks = await connection(rig), rig.context.transactions.checks
    read, waited = checks._read, []

    async def read_and_wait(*where: int) -> Any:
        halves = await read(*where)
        if halves and not waited:
            client.transport.write(end_frame(sent, COMMIT))
            while rig.controller._turn.plan.transactions is None:
                waited.append(await asyncio.sleep(0))
        return halves

    checks._read = read_and_wait  # type: ignore[method-assign]
    await checks.round()
    await settle()
    assert waited
    assert questions(producer) == []
    assert await rig.bodies() == [b"once"]
    assert rig.context.store.max_offset(HALF, 0) == 1


@pytest.mark.parametrize("keep", ["all", "none"])
async def test_what_a_turn_ended_stays_ended_over_a_kill(keep: Any) -> None:
    async with TransactionRig(flush_disk_type="SYNC_FLUSH") as rig:
        await rig.send("T")
        sent = [await rig.half(b"%d" % number) for number in range(8)]
        client = await connection(rig)
        client.transport.write(
            b"".join(end_frame(half, ROLLBACK if n == 7 else COMMIT, oneway=False) for n, half in enumerate(sent))
        )
        await settle()
        assert await rig.bodies() == [b"%d" % number for number in range(7)]
        async with killed(rig, keep=keep, flush_disk_type="SYNC_FLUSH") as after:
            producer = await after.producer()
            await after.rounds(3)
            assert questions(producer) == []
            assert await after.bodies() == [b"%d" % number for number in range(7)]


async def test_a_half_that_is_not_safe_yet_has_no_end() -> None:
    """SYNC_FLUSH: its sender was not answered, so whoever ends it now guesses."""
    async with TransactionRig(flush_disk_type="SYNC_FLUSH") as rig:
        await rig.send("T")
        sent = await rig.half()
        place = Sent("K", sent.queue_offset + 1, rig.context.store.max_physical_offset)
        client = await connection(rig)
        request = send_request(
            "T", b"y", queue_id=1, sys_flag=4, properties={"TRAN_MSG": "true", "PGROUP": "producers"}, unique_key="K"
        )
        client.transport.write(encode_command(request) + end_frame(place, COMMIT, oneway=False))
        await settle()
        assert b"Find prepared transaction message failed" in client.data


async def test_a_place_inside_a_message_is_no_half(rig: TransactionRig) -> None:
    """A body that looks like a half, at the place that it names: only what the queue of halves says is one."""
    sent = await rig.half(b"real")
    record = bytes(await rig.context.store.message_at(sent.physical_offset) or b"")
    at = rig.context.store.max_physical_offset + 88
    forged = record[:28] + at.to_bytes(8, "big") + record[36:]
    await rig.send("T", forged, queue_id=0)
    answer = await rig.end(Sent("K", sent.queue_offset, at), COMMIT)
    assert answer.code == ResponseCode.SYSTEM_ERROR
    assert (await rig.end(sent, COMMIT)).code == 0
    assert await rig.bodies() == [b"real"]
