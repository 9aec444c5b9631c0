"""Replies to request messages: pushed to who asked, stored, refused."""

from __future__ import annotations

from typing import Any

import pytest

from gantry.model import sys_flag
from gantry.model.heartbeat import HeartbeatData, ProducerData
from gantry.protocol import json_dialect
from gantry.protocol.message.properties import decode_properties
from gantry.protocol.remoting import RemotingCommand, RequestCode, ResponseCode
from gantry.protocol.remoting.header.reply_message import ReplyMessageRequestHeader
from gantry.runtime.remoting_client import RemotingClient
from gantry.runtime.remoting_server import RequestTable
from tests.unit.broker.broker_rig import BrokerRig, send_request

REPLY_TOPIC = "DefaultCluster_REPLY_TOPIC"


class Asker:
    """A producer that has said hello; `code` is what it answers to pushed replies."""

    def __init__(self, rig: BrokerRig) -> None:
        table = RequestTable()
        table.add(RequestCode.PUSH_REPLY_MESSAGE_TO_CLIENT, ReplyMessageRequestHeader, self._pushed)
        self.rig = rig
        self.client = RemotingClient(rig.net, rig.clock, requests=table)
        self.got: list[tuple[ReplyMessageRequestHeader, bytes]] = []
        self.code = 0

    async def say_hello(self) -> None:
        data = HeartbeatData(client_id="asker@1", producer_data_set=[ProducerData(group_name="askers")])
        request = RemotingCommand(RequestCode.HEART_BEAT, body=json_dialect.encode(data))
        assert (await self.rig.ask(request, client=self.client)).code == 0

    def _pushed(self, ctx: Any, request: RemotingCommand, header: ReplyMessageRequestHeader) -> RemotingCommand:
        self.got.append((header, bytes(request.body)))
        return request.reply(self.code)


def reply(body: bytes = b"answer", *, to: str | None = "asker@1", **fields: Any) -> RemotingCommand:
    properties = {"CORRELATION_ID": "c-1", "MSG_TYPE": "reply", "UNIQ_KEY": "AC10000100002A9F4E0E2F2A68AA0001"}
    if to is not None:
        properties["REPLY_TO_CLIENT"] = to
    request = send_request(REPLY_TOPIC, body, properties=properties, **fields)
    request.code = RequestCode.SEND_REPLY_MESSAGE_V2
    return request


@pytest.fixture
async def rig() -> Any:
    async with BrokerRig() as rig:
        yield rig


async def test_a_reply_is_pushed_to_who_asked_and_stored(rig: BrokerRig) -> None:
    asker = Asker(rig)
    await asker.say_hello()
    answer = await rig.ask(reply(sys_flag=sys_flag.COMPRESSED))
    assert (answer.code, answer.remark) == (0, None)
    fields = answer.ext_fields or {}
    assert (fields["queueId"], fields["queueOffset"], fields["MSG_REGION"]) == ("0", "0", "DefaultRegion")
    (header, body), *more = asker.got
    assert not more
    assert (header.topic, body, header.sys_flag) == (REPLY_TOPIC, b"answer", sys_flag.COMPRESSED)
    assert header.store_host == rig.address
    properties = decode_properties(header.properties or "")
    assert properties["CORRELATION_ID"] == "c-1"
    assert properties["PUSH_REPLY_TIME"] == str(rig.clock.now_ms())
    (stored,) = await rig.messages(REPLY_TOPIC)
    assert stored.body == b"answer"
    assert stored.properties == properties
    assert stored.sys_flag & sys_flag.COMPRESSED, "its reader could not know that the body is compressed"
    await asker.client.close()


async def test_without_storing_the_answer_names_no_place() -> None:
    async with BrokerRig(store_reply_message_enable=False) as rig:
        asker = Asker(rig)
        await asker.say_hello()
        answer = await rig.ask(reply())
        assert (answer.code, (answer.ext_fields or {})["msgId"]) == (0, "0")
        assert await rig.messages(REPLY_TOPIC) == []
        await asker.client.close()


@pytest.mark.parametrize(
    ("to", "code", "remark"),
    [
        (None, 0, "reply message properties[REPLY_TO_CLIENT] is null"),
        ("nobody@2", 0, "push reply message fail, channel of <nobody@2> not found."),
        ("asker@1", ResponseCode.SYSTEM_ERROR, "push reply message to asker@1fail."),
    ],
)
async def test_a_reply_that_reaches_nobody_is_an_error_and_is_stored(
    rig: BrokerRig, to: str | None, code: int, remark: str
) -> None:
    asker = Asker(rig)
    asker.code = code
    await asker.say_hello()
    answer = await rig.ask(reply(to=to))
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, remark)
    assert [message.body for message in await rig.messages(REPLY_TOPIC)] == [b"answer"]
    await asker.client.close()


async def test_a_reply_obeys_the_rules_of_sends(rig: BrokerRig) -> None:
    asker = Asker(rig)
    await asker.say_hello()
    refused = await rig.ask(reply(bytes(rig.config.max_message_size + 1)))
    assert refused.code == ResponseCode.MESSAGE_ILLEGAL
    assert (await rig.ask(reply(queue_id=7))).code == ResponseCode.INVALID_PARAMETER
    assert asker.got == []
    await asker.client.close()
