"""Transactions: half messages, commit, rollback, what a check asks and what becomes of halves without an end."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from gantry.model import Message, sys_flag
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.resume_check_half_message import ResumeCheckHalfMessageRequestHeader
from tests.unit.broker.transaction_rig import (
    COMMIT,
    HALF,
    OPS,
    PARKED,
    ROLLBACK,
    ROUND_MS,
    UNKNOWN,
    TransactionRig,
    end_request,
    questions,
)

OP_BATCH_MS = 3_000


@pytest.fixture
async def rig() -> Any:
    async with TransactionRig() as rig:
        await rig.send("T")
        yield rig


def counts(rig: TransactionRig) -> dict[str, int]:
    return {topic: count for topic, count in rig.context.transactions.metrics.half_messages.items() if count}


# -- half messages


async def test_half_message_waits_in_its_own_topic_and_nobody_sees_it(rig: TransactionRig) -> None:
    answer = await rig.send_half(b"half", queue_id=2, unique_key="K1", properties={"TAGS": "A", "KEYS": "k"})
    told = answer.ext_fields or {}
    assert answer.code == 0
    assert (told["queueId"], told["queueOffset"], told["transactionId"]) == ("2", "0", "K1")
    assert await rig.messages("T", 2) == []
    (half,) = await rig.messages(HALF)
    assert half.body == b"half"
    assert half.sys_flag & sys_flag.TRANSACTION_MASK == 0
    assert half.offset_msg_id == told["msgId"]
    expected = {"REAL_TOPIC": "T", "REAL_QID": "2", "TRAN_MSG": "true", "PGROUP": "producers", "__transactionId__": "K1"}
    assert expected.items() <= half.properties.items()
    assert counts(rig) == {"T": 1}


@pytest.mark.parametrize("name", ["DELAY", "TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS"])
async def test_a_transaction_has_no_delay(rig: TransactionRig, name: str) -> None:
    sent = await rig.half(properties={name: "3"})
    (half,) = await rig.messages(HALF)
    assert name not in half.properties
    await rig.end(sent, COMMIT)
    assert await rig.bodies() == [b"half"]


async def test_what_only_the_broker_counts_is_not_taken_from_a_sender(rig: TransactionRig) -> None:
    await rig.half(properties={"TRANSACTION_CHECK_TIMES": "14", "TRAN_PREPARED_QUEUE_OFFSET": "0", "REAL_TOPIC": "other"})
    (half,) = await rig.messages(HALF)
    assert "TRANSACTION_CHECK_TIMES" not in half.properties
    assert "TRAN_PREPARED_QUEUE_OFFSET" not in half.properties
    assert half.properties["REAL_TOPIC"] == "T"


async def test_half_message_without_a_group_gets_that_of_its_sender(rig: TransactionRig) -> None:
    sent = await rig.half(properties={"PGROUP": ""}, producer_group="others")
    assert (await rig.end(sent, COMMIT)).code == ResponseCode.SYSTEM_ERROR
    assert (await rig.end(sent, COMMIT, producer_group="others")).code == 0


async def test_halves_are_refused_where_an_operator_says_so() -> None:
    async with TransactionRig(reject_transaction_message=True) as rig:
        answer = await rig.send_half()
        assert answer.code == ResponseCode.NO_PERMISSION
        assert answer.remark == "the broker[127.0.0.1] sending transaction message is forbidden"
        assert await rig.messages(HALF) == []


@pytest.mark.parametrize("bits", [sys_flag.TRANSACTION_PREPARED, sys_flag.TRANSACTION_COMMIT, sys_flag.TRANSACTION_ROLLBACK])
async def test_bits_of_a_transaction_without_its_property_are_refused(rig: TransactionRig, bits: int) -> None:
    assert (await rig.send("T", queue_id=1, sys_flag=bits)).code == ResponseCode.MESSAGE_ILLEGAL
    assert await rig.messages("T", 1) == []


async def test_a_batch_cannot_be_half(rig: TransactionRig) -> None:
    answer = await rig.send("T", batch=[Message.of("T", b"a")], properties={"TRAN_MSG": "true"}, queue_id=1)
    assert answer.code == ResponseCode.MESSAGE_ILLEGAL
    assert await rig.messages(HALF) == []


async def test_a_committed_message_that_an_old_client_sends_for_a_retry_is_no_half(rig: TransactionRig) -> None:
    await rig.heartbeat("T")
    properties = {"TRAN_MSG": "true", "PGROUP": "producers", "DELAY": "1"}
    answer = await rig.send(
        "%RETRY%consumers", properties=properties, reconsume_times=1, sys_flag=sys_flag.TRANSACTION_PREPARED
    )
    assert answer.code == 0
    await rig.clock.run_ms(1_000)
    assert len(await rig.messages("%RETRY%consumers")) == 1
    assert await rig.messages(HALF) == []


async def test_a_half_leaves_room_for_the_marks_of_its_checks(rig: TransactionRig) -> None:
    room = 32_767 - 600
    assert (await rig.send_half(properties={"big": "x" * room})).code == 0
    assert (await rig.send_half(properties={"big": "x" * (room + 500)})).code == ResponseCode.MESSAGE_ILLEGAL


# -- their ends


async def test_commit_shows_the_message_as_the_original_does(rig: TransactionRig) -> None:
    sent = await rig.half(b"body", queue_id=2, unique_key="K1", properties={"TAGS": "A", "KEYS": "k"}, flag=7)
    answer = await rig.end(sent, COMMIT)
    assert (answer.code, answer.remark) == (0, None)
    (message,) = await rig.messages("T", 2)
    assert (message.body, message.msg_id, message.flag, message.tags) == (b"body", "K1", 7, "A")
    assert message.sys_flag & sys_flag.TRANSACTION_MASK == sys_flag.TRANSACTION_COMMIT
    assert message.prepared_transaction_offset == sent.physical_offset
    assert {"TRAN_MSG": "true", "REAL_TOPIC": "T", "REAL_QID": "2"}.items() <= message.properties.items()
    assert (await rig.pull("T", 2, expression="A")).code == 0
    assert counts(rig) == {}
    assert rig.context.transactions.metrics.commits == {"T": 1}


async def test_rollback_never_shows_it_and_is_in_the_op_queue_before_it_is_answered(rig: TransactionRig) -> None:
    sent = await rig.half()
    assert (await rig.end(sent, ROLLBACK)).code == 0
    (op,) = await rig.messages(OPS)
    assert (op.body, op.tags) == (b"0,", "d")
    producer = await rig.producer()
    await rig.rounds(3)
    assert await rig.bodies() == []
    assert questions(producer) == []
    assert counts(rig) == {}
    assert rig.context.transactions.metrics.rollbacks == {"T": 1}


async def test_ends_are_told_to_the_op_queue_in_batches(rig: TransactionRig) -> None:
    for n in range(5):
        assert (await rig.end(await rig.half(b"%d" % n), COMMIT)).code == 0
    assert await rig.messages(OPS) == []
    await rig.clock.run_ms(OP_BATCH_MS)
    assert [op.body for op in await rig.messages(OPS)] == [b"0,1,2,3,4,"]


async def test_a_full_op_message_does_not_wait() -> None:
    async with TransactionRig(transaction_op_msg_max_size=20) as rig:
        await rig.send("T")
        for _ in range(15):
            await rig.end(await rig.half(), COMMIT)
        ops = [op.body for op in await rig.messages(OPS)]
        assert ops[0] == b"0,1,2,3,4,5,6,7,8,9,"
        await rig.clock.run_ms(OP_BATCH_MS)
        ops = [op.body for op in await rig.messages(OPS)]
        assert all(len(body) <= 20 for body in ops)
        assert b"".join(ops) == b"".join(b"%d," % n for n in range(15))


async def test_unknown_is_not_answered_and_changes_nothing(rig: TransactionRig) -> None:
    sent = await rig.half()
    request = RemotingCommand.request(end_request(sent, UNKNOWN))
    request.mark_oneway()
    await rig.client.invoke_oneway(rig.address, request)
    await rig.clock.run_ms(OP_BATCH_MS)
    assert await rig.messages(OPS) == []
    assert counts(rig) == {"T": 1}


async def test_oneway_commit_is_done(rig: TransactionRig) -> None:
    request = RemotingCommand.request(end_request(await rig.half(), COMMIT))
    await rig.client.invoke_oneway(rig.address, request)
    await rig.clock.run_ms(1)
    assert await rig.bodies() == [b"half"]


@pytest.mark.parametrize(
    ("fields", "remark"),
    [
        ({"producer_group": "others"}, "The producer group wrong"),
        ({"tran_state_table_offset": 5}, "The transaction state table offset wrong"),
        ({"commit_log_offset": 1 << 40}, "Find prepared transaction message failed"),
        ({"commit_log_offset": -1}, "Find prepared transaction message failed"),
        ({"commit_log_offset": 0}, "Find prepared transaction message failed"),
        ({"commit_log_offset": 7}, "Find prepared transaction message failed"),
    ],
)
@pytest.mark.parametrize("outcome", [COMMIT, ROLLBACK])
async def test_an_end_must_name_its_half(rig: TransactionRig, outcome: int, fields: dict[str, Any], remark: str) -> None:
    """Offset 0 is an ordinary message: no end of a transaction makes a copy of it."""
    sent = await rig.half()
    answer = await rig.end(sent, outcome, **fields)
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, remark)
    assert await rig.bodies() == []
    assert (await rig.end(sent, COMMIT)).code == 0


async def test_each_half_ends_once(rig: TransactionRig) -> None:
    committed, rolled_back = await rig.half(b"yes"), await rig.half(b"no")
    assert (await rig.end(committed, COMMIT)).code == 0
    assert (await rig.end(rolled_back, ROLLBACK)).code == 0
    # Again, as a client and a check that overlap do.
    assert (await rig.end(committed, COMMIT, checked=True)).code == 0
    assert (await rig.end(rolled_back, ROLLBACK, checked=True)).code == 0
    assert (await rig.end(committed, ROLLBACK)).code == ResponseCode.ILLEGAL_OPERATION
    assert (await rig.end(rolled_back, COMMIT)).code == ResponseCode.ILLEGAL_OPERATION
    await rig.rounds(2)
    assert (await rig.end(committed, COMMIT)).code == 0
    assert (await rig.end(rolled_back, COMMIT)).code == ResponseCode.ILLEGAL_OPERATION
    assert await rig.bodies() == [b"yes"]
    assert counts(rig) == {}


async def test_an_end_after_the_immunity_is_left_to_the_check(rig: TransactionRig) -> None:
    sent = await rig.half(properties={"CHECK_IMMUNITY_TIME_IN_SECONDS": "10"})
    await rig.clock.run_ms(10_001)
    answer = await rig.end(sent, COMMIT)
    assert (answer.code, answer.remark) == (ResponseCode.ILLEGAL_OPERATION, None)
    assert (await rig.end(sent, ROLLBACK)).code == ResponseCode.ILLEGAL_OPERATION
    assert await rig.bodies() == []
    assert (await rig.end(sent, COMMIT, checked=True)).code == 0
    assert await rig.bodies() == [b"half"]


async def test_a_full_disk_refuses_an_end_and_forgets_nothing(rig: TransactionRig) -> None:
    sent = await rig.half()
    rig.disk.fail("pwrite", error=errno.ENOSPC, path_part="commitlog")
    answer = await rig.end(sent, COMMIT)
    assert (answer.code, answer.remark) == (ResponseCode.SERVICE_NOT_AVAILABLE, "Service not available now.")
    assert counts(rig) == {"T": 1}
    await rig.clock.run_ms(2_000)
    assert (await rig.end(sent, COMMIT)).code == 0
    assert await rig.bodies() == [b"half"]


# -- checks


async def test_a_producer_of_the_group_is_asked_and_its_answer_ends_the_half(rig: TransactionRig) -> None:
    producer = await rig.producer()
    sent = await rig.half(b"body", queue_id=2, unique_key="K1")
    await rig.rounds()
    (question,) = questions(producer)
    assert question.request.is_oneway
    assert (question.request.ext_fields or {})["bname"] == "broker-a"
    assert question.header.topic == HALF
    assert question.header.transaction_id == question.header.msg_id == "K1"
    assert question.place != sent
    assert (question.message.topic, question.message.queue_id, question.message.body) == ("T", 2, b"body")
    assert question.message.queue_offset == question.header.tran_state_table_offset
    assert question.message.offset_msg_id == question.header.offset_msg_id
    assert question.message.properties["TRANSACTION_CHECK_TIMES"] == "1"
    assert (await rig.end(question.place, COMMIT, checked=True)).code == 0
    await rig.rounds(2)
    assert await rig.bodies("T", 2) == [b"body"]
    assert len(questions(producer)) == 1


async def test_a_young_half_is_left_alone(rig: TransactionRig) -> None:
    producer = await rig.producer()
    await rig.clock.run_ms(ROUND_MS - 5_000)
    sent = await rig.half()
    await rig.clock.run_ms(5_001)
    assert questions(producer) == []
    await rig.rounds()
    assert [question.message.msg_id for question in questions(producer)] == [sent.unique_key]


async def test_producers_of_a_group_are_asked_in_turn(rig: TransactionRig) -> None:
    first, second = await rig.producer("p1"), await rig.producer("p2")
    for _ in range(6):
        await rig.half()
    await rig.rounds()
    assert (len(questions(first)), len(questions(second))) == (3, 3)


async def test_a_half_without_an_end_is_checked_fifteen_times_and_set_aside(rig: TransactionRig) -> None:
    producer = await rig.producer()
    sent = await rig.half(b"open", unique_key="K1")
    await rig.rounds(15)
    assert [q.message.properties["TRANSACTION_CHECK_TIMES"] for q in questions(producer)] == [str(n) for n in range(1, 16)]
    assert await rig.messages(PARKED) == []
    await rig.rounds(5)
    assert len(questions(producer)) == 15
    (parked,) = await rig.messages(PARKED)
    assert (parked.body, parked.msg_id) == (b"open", "K1")
    assert parked.properties["REAL_TOPIC"] == "T"
    assert await rig.bodies() == []
    assert counts(rig) == {}
    # An answer that comes after all is heard.
    assert (await rig.end(sent, COMMIT)).code == 0
    assert await rig.bodies() == [b"open"]


async def test_the_answer_to_the_last_check_is_heard(rig: TransactionRig) -> None:
    producer = await rig.producer()
    await rig.half(b"open")
    await rig.rounds(15)
    assert (await rig.end(questions(producer)[-1].place, COMMIT, checked=True)).code == 0
    await rig.rounds(3)
    assert await rig.bodies() == [b"open"]
    assert await rig.messages(PARKED) == []


async def test_late_end_by_the_place_the_sender_knows_ends_the_copy_too(rig: TransactionRig) -> None:
    producer = await rig.producer()
    committed, rolled_back = await rig.half(b"yes"), await rig.half(b"no")
    await rig.rounds(3)
    assert (await rig.end(committed, COMMIT)).code == 0
    assert (await rig.end(rolled_back, ROLLBACK)).code == 0
    asked = len(questions(producer))
    await rig.rounds(3)
    assert len(questions(producer)) == asked
    assert await rig.bodies() == [b"yes"]
    assert counts(rig) == {}


async def test_halves_within_their_immunity_are_not_asked_for_and_hold_nobody_up(rig: TransactionRig) -> None:
    producer = await rig.producer()
    patient = await rig.half(b"patient", properties={"CHECK_IMMUNITY_TIME_IN_SECONDS": "600"})
    other = await rig.half(b"other")
    await rig.rounds(19)
    assert {q.message.msg_id for q in questions(producer)} == {other.unique_key}
    assert counts(rig)["T"] == 1
    await rig.rounds(2)
    assert [q.message.msg_id for q in questions(producer)][-1] == patient.unique_key
    (mark,) = {q.message.properties["TRAN_PREPARED_QUEUE_OFFSET"] for q in questions(producer)[15:]}
    assert mark == "0"
    await rig.rounds(15)
    assert [m.body for m in await rig.messages(PARKED)] == [b"other", b"patient"]


async def test_an_end_within_the_immunity_ends_the_copies(rig: TransactionRig) -> None:
    producer = await rig.producer()
    sent = await rig.half(properties={"CHECK_IMMUNITY_TIME_IN_SECONDS": "600"})
    await rig.rounds(5)
    assert (await rig.end(sent, COMMIT)).code == 0
    await rig.rounds(30)
    assert questions(producer) == []
    assert await rig.bodies() == [b"half"]
    assert await rig.messages(PARKED) == []


async def test_checks_go_on_when_the_wall_clock_goes_back(rig: TransactionRig) -> None:
    producer = await rig.producer()
    await rig.half()
    rig.clock.jump_wall_ms(-3_600_000)
    await rig.rounds(3)
    assert len(questions(producer)) == 3


async def test_a_half_is_asked_for_even_when_it_came_long_ago(rig: TransactionRig) -> None:
    """The original sets aside unasked what is older than the log's retention: after a long stop, say."""
    producer = await rig.producer()
    await rig.half(born_timestamp=rig.clock.now_ms() - 100 * 3_600_000)
    await rig.rounds()
    assert len(questions(producer)) == 1


async def test_rounds_read_only_what_is_open(rig: TransactionRig) -> None:
    for n in range(200):
        await rig.end(await rig.half(b"%d" % n), COMMIT)
    await rig.half(b"open")
    for n in range(200):
        await rig.end(await rig.half(b"%d" % n), COMMIT)
    await rig.rounds()
    offsets = rig.context.offsets
    await rig.clock.run_ms(20_000)
    assert offsets.query("CID_RMQ_SYS_TRANS", HALF, 0) == 401
    assert offsets.query("CID_RMQ_SYS_TRANS", OPS, 0) == rig.context.store.max_offset(OPS, 0)
    assert counts(rig) == {"T": 1}


async def test_an_operator_has_a_parked_half_checked_again(rig: TransactionRig) -> None:
    producer = await rig.producer()
    await rig.half(b"open")
    await rig.rounds(17)
    (parked,) = await rig.messages(PARKED)

    async def resume(msg_id: str) -> RemotingCommand:
        return await rig.ask(ResumeCheckHalfMessageRequestHeader(topic=PARKED, msg_id=msg_id))

    assert (await resume(parked.offset_msg_id)).code == 0
    assert counts(rig) == {"T": 1}
    await rig.rounds()
    question = questions(producer)[-1]
    assert question.message.properties["TRANSACTION_CHECK_TIMES"] == "1"
    assert (await rig.end(question.place, COMMIT, checked=True)).code == 0
    assert await rig.bodies() == [b"open"]
    ordinary = (await rig.messages("T"))[0].offset_msg_id
    for wrong in (parked.offset_msg_id, ordinary, "", "nonsense"):
        answer = await resume(wrong)
        assert answer.code == ResponseCode.SYSTEM_ERROR
        assert (answer.remark or "").startswith("Exception was thrown when putting message back")


async def test_retention_takes_no_open_half_with_it() -> None:
    """Retention deletes what is an hour old, and the halves are looked at every ten hours: the log moves on without them."""
    interval_ms = 36_000_000
    settings = {"transaction_check_interval": interval_ms, "file_reserved_time": 1, "transaction_time_out": 1_000}
    async with TransactionRig(mapped_file_size_commit_log=1 << 16, **settings) as rig:
        store = rig.context.store
        await rig.send("T")
        await rig.half(b"open")
        await rig.end(await rig.half(b"no"), ROLLBACK)
        for _ in range(100):
            await rig.send("T", b"x" * 2_000)
        await rig.clock.run_ms(3_700_000)
        store.execute_delete_files_manually()
        assert await rig.clock.run_until(store.clean_files()) > 1
        assert store.min_physical_offset >= 1 << 16
        (half,) = await rig.messages(HALF, offset=await store.first_offset(HALF, 0))
        assert half.body == b"open"
        await rig.clock.run_ms(interval_ms - 3_700_000 - 30_000)
        producer = await rig.producer()
        await rig.clock.run_ms(60_000)
        assert [q.message.body for q in questions(producer)] == [b"open"]


async def test_retention_waits_while_an_open_half_cannot_be_appended_again() -> None:
    settings = {"transaction_check_interval": 36_000_000, "file_reserved_time": 1}
    async with TransactionRig(mapped_file_size_commit_log=1 << 16, **settings) as rig:
        store = rig.context.store
        await rig.send("T")
        await rig.half(b"open")
        for _ in range(100):
            await rig.send("T", b"x" * 2_000)
        await rig.clock.run_ms(3_700_000)
        store.execute_delete_files_manually()
        rig.disk.fail("pwrite", error=errno.ENOSPC, path_part="commitlog")
        assert await rig.clock.run_until(store.clean_files()) == 0
        assert store.min_physical_offset == 0
        await rig.clock.run_ms(2_000)
        assert await rig.clock.run_until(store.clean_files()) > 1
        (half,) = await rig.messages(HALF, offset=await store.first_offset(HALF, 0))
        assert half.body == b"open"
