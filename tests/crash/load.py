"""Load for crash tests: senders that number what they send, and a reader of whole queues; one connection each."""

from __future__ import annotations

import asyncio
import contextlib
import time

from gantry.protocol.message.record import iterate_records
from gantry.protocol.remoting import FrameDecoder, RemotingCommand, decode_frame, encode_command
from gantry.protocol.remoting.header.get_max_offset import GetMaxOffsetRequestHeader
from gantry.protocol.remoting.header.get_min_offset import GetMinOffsetRequestHeader
from gantry.protocol.remoting.header.pull_message import PullMessageRequestHeader
from gantry.protocol.remoting.header.send_message import SendMessageRequestHeader
from gantry.protocol.remoting.header.send_message_v2 import SendMessageRequestHeaderV2
from tests.crash.history import History

TOPIC = "crash"
QUEUES = 4
GROUP = "crash_readers"


class Connection:
    """Requests one after another over one socket; any end of the connection is an OSError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._decoder = FrameDecoder()
        self._opaque = 0

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: RemotingCommand) -> RemotingCommand:
        opaque = self.begin(request)
        answer = await self.answer()
        assert answer.opaque == opaque
        return answer

    def begin(self, request: RemotingCommand) -> int:
        """Sends without waiting; returns the opaque of the answer to come."""
        self._opaque += 1
        request.opaque = self._opaque
        self._writer.write(encode_command(request))
        return self._opaque

    async def answer(self) -> RemotingCommand:
        """The next answer, whatever it answers; what the broker asks or tells is passed over."""
        while True:
            while (frame := self._decoder.next_frame()) is None:
                data = await self._reader.read(65536)
                if not data:
                    raise ConnectionResetError("the broker closed the connection")
                self._decoder.receive_data(data)
            if (command := decode_frame(frame)).is_response:
                return command

    def close(self) -> None:
        self._writer.close()


def send_request(body: bytes, queue_id: int, number: int) -> RemotingCommand:
    header = SendMessageRequestHeader(
        producer_group="crash_senders",
        topic=TOPIC,
        default_topic="TBW102",
        default_topic_queue_nums=QUEUES,
        queue_id=queue_id,
        sys_flag=0,
        born_timestamp=int(time.time() * 1000),
        flag=0,
        properties=f"UNIQ_KEY\x01{number:032X}\x02KEYS\x01k{number}\x02WAIT\x01true\x02",
        reconsume_times=0,
    )
    return RemotingCommand.request(SendMessageRequestHeaderV2.from_v1(header), body)


async def send_until_closed(port: int, sender: int, queue_id: int, numbers: list[int], history: History, size: int) -> None:
    """Sends numbered messages to one queue until the connection ends; `numbers[sender]` goes on over restarts."""
    with contextlib.suppress(OSError):
        connection = await Connection.open(port)
        try:
            while True:
                number = numbers[sender]
                numbers[sender] += 1
                body = b"s%d %d " % (sender, number)
                body += b"." * (size - len(body))
                history.begin(body)
                answer = await connection.ask(send_request(body, queue_id, sender << 32 | number))
                fields = answer.ext_fields or {}
                history.end(body, answer.code, (int(fields.get("queueId", -1)), int(fields.get("queueOffset", -1))))
        finally:
            connection.close()


async def read_queue(port: int, queue_id: int, *, begin: int = 0) -> tuple[int, list[bytes]]:
    """Everything readable in a queue, from its minimum or `begin` to its end: first offset and bodies."""
    connection = await Connection.open(port)
    try:
        lowest = await connection.ask(RemotingCommand.request(GetMinOffsetRequestHeader(topic=TOPIC, queue_id=queue_id)))
        highest = await connection.ask(RemotingCommand.request(GetMaxOffsetRequestHeader(topic=TOPIC, queue_id=queue_id)))
        first = offset = max(int((lowest.ext_fields or {})["offset"]), begin)
        end = int((highest.ext_fields or {})["offset"])
        bodies: list[bytes] = []
        while offset < end:
            answer = await connection.ask(pull_request(queue_id, offset))
            assert answer.code == 0, f"queue {queue_id}, offset {offset} of {end}: {answer.code} {answer.remark}"
            for record in iterate_records(answer.body):
                assert record.queue_offset == offset, f"queue {queue_id}: offset {record.queue_offset} where {offset} was due"
                bodies.append(bytes(record.body))
                offset += 1
        return first, bodies
    finally:
        connection.close()


def pull_request(queue_id: int, offset: int, *, hold_ms: int = 0) -> RemotingCommand:
    return RemotingCommand.request(
        PullMessageRequestHeader(
            consumer_group=GROUP,
            topic=TOPIC,
            queue_id=queue_id,
            queue_offset=offset,
            max_msg_nums=160,
            sys_flag=6 if hold_ms else 4,
            commit_offset=0,
            suspend_timeout_millis=hold_ms,
            subscription="*",
            sub_version=1,
            expression_type="TAG",
        )
    )
