"""Pops, acknowledgements and the like as the Java client makes them, over the broker in memory."""

from __future__ import annotations

from typing import Any

from gantry.model import MessageExt, message_const
from gantry.model.names import pop_retry_topic_v1
from gantry.protocol import json_dialect
from gantry.protocol.message.pop_handle import parse_handle, real_topic
from gantry.protocol.message.record import decode_records
from gantry.protocol.remoting.body.batch_ack import BatchAckEntry, BatchAckRequestBody, encode_bit_set
from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.ack_message import AckMessageRequestHeader
from gantry.protocol.remoting.header.change_message_invisibletime import ChangeInvisibleTimeRequestHeader
from gantry.protocol.remoting.header.pop_message import PopMessageRequestHeader
from gantry.testing import MemoryDisk, VirtualClock
from tests.unit.broker.broker_rig import GROUP, BrokerRig

INVISIBLE_MS = 60_000
RETRY = pop_retry_topic_v1("T", GROUP)


class Popped:
    """One message with the handle the client makes for it."""

    def __init__(self, message: MessageExt, handle: str, topic: str, group: str) -> None:
        self.message = message
        self.handle = handle
        self.group = group
        self.topic = real_topic(topic, group, handle.split(" ")[4])

    @property
    def body(self) -> bytes:
        return self.message.body

    @property
    def offset(self) -> int:
        return self.message.queue_offset

    @property
    def queue_id(self) -> int:
        return self.message.queue_id


def popped(answer: RemotingCommand, topic: str, group: str = GROUP, broker: str = "broker-a") -> list[Popped]:
    """The messages of a pop's answer. Source: MQClientAPIImpl.processPopResponse (5.3)."""
    fields = answer.ext_fields or {}
    starts = {}
    for entry in filter(None, fields.get("startOffsetInfo", "").split(";")):
        flag, queue, start = entry.split(" ")
        starts[flag, queue] = start
    found = []
    for message in decode_records(answer.body):
        handle = message.properties.get(message_const.POP_CK)
        if handle is None:
            start = starts["0", str(message.queue_id)]
            handle = " ".join(
                (
                    start, fields["popTime"], fields["invisibleTime"], fields["reviveQid"], "0", broker,
                    str(message.queue_id), str(message.queue_offset),
                )
            )  # fmt: skip
        found.append(Popped(message, handle, topic, group))
    return found


class PopRig(BrokerRig):
    """A broker on a clock that stands still, asked in the POP way."""

    def __init__(self, disk: MemoryDisk | None = None, *, clock: VirtualClock | None = None, **settings: Any) -> None:
        settings.setdefault("pop_from_retry_probability", 100)
        super().__init__(disk, clock=clock, **settings)

    def pop_request(self, topic: str = "T", **fields: Any) -> PopMessageRequestHeader:
        values: dict[str, Any] = {
            "consumer_group": GROUP,
            "topic": topic,
            "queue_id": -1,
            "max_msg_nums": 32,
            "invisible_time": INVISIBLE_MS,
            "poll_time": 0,
            "born_time": self.clock.now_ms(),
        }
        values.update(fields)
        return PopMessageRequestHeader(**values)

    async def pop(self, topic: str = "T", **fields: Any) -> list[Popped]:
        answer = await self.ask(self.pop_request(topic, **fields))
        assert answer.code in (0, 210), (answer.code, answer.remark)
        return popped(answer, topic, fields.get("consumer_group", GROUP))

    async def ack(self, one: Popped) -> RemotingCommand:
        return await self.ask(
            AckMessageRequestHeader(
                consumer_group=one.group, topic=one.topic, queue_id=one.queue_id, extra_info=one.handle, offset=one.offset
            )
        )

    async def batch_ack(self, *batches: list[Popped]) -> RemotingCommand:
        entries = []
        for batch in batches:
            handle = parse_handle(batch[0].handle)
            entries.append(
                BatchAckEntry(
                    c=batch[0].group, t="T", r=batch[0].handle.split(" ")[4], so=handle.start_offset, q=batch[0].queue_id,
                    rq=handle.revive_qid, pt=handle.pop_time, it=handle.invisible_time,
                    b=encode_bit_set(handle.start_offset, [one.offset for one in batch]),
                )
            )  # fmt: skip
        body = json_dialect.encode(BatchAckRequestBody("broker-a", entries))
        return await self.ask(RemotingCommand.request(RequestCode.BATCH_ACK_MESSAGE, body))

    async def change(self, one: Popped, invisible_time: int) -> RemotingCommand:
        answer = await self.ask(
            ChangeInvisibleTimeRequestHeader(
                consumer_group=one.group, topic=one.topic, queue_id=one.queue_id, extra_info=one.handle, offset=one.offset,
                invisible_time=invisible_time,
            )
        )  # fmt: skip
        if answer.code == 0:
            told, fields = answer.ext_fields or {}, one.handle.split(" ")
            one.handle = " ".join(
                (str(one.offset), told["popTime"], told["invisibleTime"], told["reviveQid"], *fields[4:7], str(one.offset))
            )
        return answer

    def committed(self, queue_id: int = 0, topic: str = "T", group: str = GROUP) -> int:
        return self.context.offsets.query(group, topic, queue_id)
