"""Clients that ask for much at once: others have their turn, and nothing is kept that is not needed."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gantry.broker.client_manager import consumer_manager
from gantry.broker.client_manager.consumer_group_info import LOGGED_TOPICS_MAX
from gantry.broker.long_polling import HeldPull, PullRequestHold, pull_request_hold
from gantry.broker.processor import heart_beat, send_message
from gantry.model.heartbeat import SubscriptionData
from gantry.protocol.message.batch import BatchElement, encode_batch
from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.testing import VirtualClock, settle
from tests.unit.broker.broker_rig import BrokerRig, pull_request, send_request


def heartbeat(consumers: int, producers: int = 0) -> RemotingCommand:
    groups = ",".join(f'{{"groupName":"c{index}"}}' for index in range(consumers))
    senders = ",".join(f'{{"groupName":"p{index}"}}' for index in range(producers))
    body = f'{{"clientID":"c","consumerDataSet":[{groups}],"producerDataSet":[{senders}]}}'
    return RemotingCommand.request(RequestCode.HEART_BEAT, body.encode())


# -- heartbeats -------------------------------------------------------------------------------------------------------


async def test_a_heartbeat_of_many_groups_lets_others_have_their_turn() -> None:
    async with BrokerRig() as rig:
        turns = 0
        done = asyncio.ensure_future(rig.ask(heartbeat(900, 900)))
        while not done.done():
            turns += 1
            await asyncio.sleep(0)
        assert done.result().code == 0
        assert turns >= 1_800 // heart_beat.GROUPS_AT_ONCE
        assert all(rig.context.consumers.group_info(f"c{index}") for index in range(900))
        assert all(rig.context.producers.group_online(f"p{index}") for index in range(900))


async def test_a_heartbeat_of_too_many_groups_is_refused_with_their_number() -> None:
    async with BrokerRig() as rig:
        answer = await rig.ask(heartbeat(1_500, 501))
        assert (answer.code, answer.remark) == (1, "the heartbeat names 2001 groups, a client has 2000 at most")
        assert rig.context.consumers.groups() == {}


async def test_a_connection_that_ends_within_its_heartbeat_joins_no_further_group() -> None:
    async with BrokerRig() as rig:
        done = asyncio.ensure_future(rig.ask(heartbeat(2_000)))
        while not rig.context.consumers.groups():
            await asyncio.sleep(0)
        await rig.client.close()
        with pytest.raises(Exception, match="ended before the answer"):
            await done
        await settle()
        assert rig.context.consumers.groups() == {}, "nobody is left in a group without a connection"


async def test_a_group_of_very_many_topics_is_registered_and_not_told_line_by_line(caplog: pytest.LogCaptureFixture) -> None:
    async with BrokerRig() as rig:
        topics = ",".join(f'{{"topic":"t{index}"}}' for index in range(3_000))
        body = f'{{"clientID":"c","consumerDataSet":[{{"groupName":"g","subscriptionDataSet":[{topics}]}}]}}'.encode()
        with caplog.at_level(logging.INFO):
            answer = await rig.ask(RemotingCommand.request(RequestCode.HEART_BEAT, body))
        assert answer.code == 0
        assert rig.context.consumers.subscription_count("g") == 3_000
        assert caplog.text.count("listens to topic") == LOGGED_TOPICS_MAX
        assert f"{3_000 - LOGGED_TOPICS_MAX} further topics came or went" in caplog.text


async def test_subscriptions_learned_from_pulls_are_bounded_in_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_manager, "COMPENSATION_CHARS_MAX", 10_000)
    consumers = consumer_manager.ConsumerManager(VirtualClock())
    for index in range(50):
        consumers.compensate_subscription(f"g{index}", "t", SubscriptionData(topic="t", sub_string="x" * 1_000))
    known = [index for index in range(50) if consumers.find_subscription(f"g{index}", "t")]
    assert known == list(range(40, 50)), "the eldest made room"
    consumers.compensate_subscription("g49", "t", SubscriptionData(topic="t", sub_string="y"))
    consumers.compensate_subscription("new", "t", SubscriptionData(topic="t", sub_string="z" * 900))
    known = [index for index in range(50) if consumers.find_subscription(f"g{index}", "t")]
    assert known == list(range(40, 50)), "a shorter one in its place gave room back"


# -- waiting pulls ----------------------------------------------------------------------------------------------------


def held(offset: int = 0, *, deadline_ms: int = 60_000, filter_chars: int = 0) -> HeldPull:
    return HeldPull(
        context=None,
        request=None,
        header=None,
        channel_id=1,
        topic="t",
        queue_id=0,
        offset=offset,
        matches=None,
        deadline_ms=deadline_ms,
        filter_chars=filter_chars,
    )


@pytest.mark.parametrize("how", ["message", "time"])
async def test_pulls_wake_in_slices(how: str) -> None:
    clock = VirtualClock()
    hold = PullRequestHold(clock, count_max=10_000)
    resumed: list[bool] = []
    hold.resume = lambda pull, expired: resumed.append(expired)
    count = 5 * pull_request_hold.RESUMED_AT_ONCE
    for _ in range(count):
        assert hold.hold(held(deadline_ms=clock.monotonic_ms() + 1_000))
    if how == "message":
        hold.message_arrived("t", 0, 1, 0)
    else:
        clock.advance_ms(2_000)
    assert hold.count == 0
    most, before = 0, len(resumed)
    for _ in range(50):
        await asyncio.sleep(0)
        most, before = max(most, len(resumed) - before), len(resumed)
    assert resumed == [how == "time"] * count
    assert most <= 2 * pull_request_hold.RESUMED_AT_ONCE, "not all in one turn of the loop"


async def test_the_end_answers_those_that_woke_and_those_that_wait() -> None:
    hold = PullRequestHold(VirtualClock(), count_max=10_000)
    resumed: list[bool] = []
    hold.resume = lambda pull, expired: resumed.append(expired)
    for offset in (0, 0, 5):
        assert hold.hold(held(offset))
    hold.message_arrived("t", 0, 1, 0)
    hold.close()
    assert sorted(resumed) == [False, False, True]
    await asyncio.sleep(0)
    assert len(resumed) == 3
    assert not hold.hold(held())


async def test_expressions_of_waiting_pulls_are_bounded_together() -> None:
    hold = PullRequestHold(VirtualClock(), count_max=1_000_000)
    hold.resume = lambda pull, expired: None
    large = pull_request_hold.FILTER_CHARS_MAX // 8
    for _ in range(8):
        assert hold.hold(held(filter_chars=large))
    assert not hold.hold(held(filter_chars=1))
    assert hold.hold(held()), "one without an expression of its own still may"
    hold.message_arrived("t", 0, 1, 0)
    await asyncio.sleep(0)
    assert hold.hold(held(filter_chars=large)), "who left gave the room back"
    hold.close()


async def test_a_waiting_pull_keeps_neither_header_fields_nor_body() -> None:
    async with BrokerRig() as rig:
        await rig.send("T", b"x")
        request = pull_request("T", 0, 1, suspend_ms=30_000)
        assert request.ext_fields is not None
        request.ext_fields |= {"junk": "j" * 100_000, "proxyFrowardClientId": "p" * 10_000}
        request.body = b"b" * 100_000
        waiting = asyncio.ensure_future(rig.ask(request))
        await settle()
        (pull,) = next(iter(rig.context.long_polling._queues.values()))
        assert pull.request.ext_fields is None
        assert pull.request.body == b""
        assert pull.header.proxy_forward_client_id is None
        await rig.send("T", b"y")
        await settle()
        assert waiting.result().code == 0


# -- batches ----------------------------------------------------------------------------------------------------------


async def test_a_batch_of_the_most_members_is_stored_and_its_answer_is_taken() -> None:
    count = 10_000
    elements = [BatchElement(0, b"%d" % index, b"") for index in range(count)]
    async with BrokerRig(mapped_file_size_commit_log=8 << 20) as rig:
        request = send_request("T", encode_batch(elements))
        assert request.ext_fields is not None
        request.ext_fields["m"] = "true"
        answer = await rig.ask(request)
        assert answer.code == 0
        assert answer.ext_fields is not None
        assert len(answer.ext_fields["msgId"].split(",")) == count, "330 KB of ids in one header"
        assert rig.context.store.max_offset("T", 0) == count


async def test_a_batch_longer_than_a_message_may_be_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with BrokerRig(max_message_size=10_000) as rig:
        await rig.send("T", b"x")
        monkeypatch.setattr(send_message, "decode_batch", lambda body, count_max: pytest.fail("it was read"))
        request = send_request("T", bytes(10_001))
        assert request.ext_fields is not None
        request.ext_fields["m"] = "true"
        answer = await rig.ask(request)
        assert answer.code == 13
        assert "msg body length limit 10000B" in (answer.remark or "")
