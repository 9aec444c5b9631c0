"""POP questions to brokers, one function each; as `broker_api`, which has all others.

Every function raises BrokerError for an answer other than the ones it names, and RemotingError when none came.
Times are ms; a handle is what `gantry.protocol.message.pop_handle` says of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from gantry.errors import BrokerError
from gantry.model import MessageExt, message_const
from gantry.protocol import json_dialect
from gantry.protocol.message import pop_handle
from gantry.protocol.remoting import RemotingCommand, RequestCode
from gantry.protocol.remoting.body.batch_ack import BatchAckEntry, BatchAckRequestBody, encode_bit_set
from gantry.protocol.remoting.header.ack_message import AckMessageRequestHeader
from gantry.protocol.remoting.header.change_message_invisibletime import (
    ChangeInvisibleTimeRequestHeader,
    ChangeInvisibleTimeResponseHeader,
)
from gantry.protocol.remoting.header.notification import NotificationRequestHeader, NotificationResponseHeader
from gantry.protocol.remoting.header.pop_message import PopMessageRequestHeader, PopMessageResponseHeader

from .message_decoding import decode_pulled
from .remoting import Remoting, ask
from .results import POP_STATUS_BY_CODE, PopResult, PopStatus

ANSWER_LATE_MS = 10_000
"""How much longer than it may wait at the broker an answer is waited for."""


class PopApi:
    """The requests of a consumer that pops."""

    def __init__(self, remoting: Remoting, *, timeout_ms: int) -> None:
        self._remoting = remoting
        self._timeout_ms = timeout_ms

    async def pop(self, address: str, header: PopMessageRequestHeader, *, broker_name: str) -> PopResult:
        """One pop, perhaps held by the broker. Found and not found are results, every other code is a BrokerError."""
        response = await self._remoting.invoke(
            address, _for_broker(RemotingCommand.request(header), broker_name), header.poll_time + ANSWER_LATE_MS
        )
        status = POP_STATUS_BY_CODE.get(response.code)
        if status is None:
            raise BrokerError(response.code, response.remark or "", address=address)
        if status is not PopStatus.FOUND:
            return PopResult(status)
        answer = PopMessageResponseHeader.decode(response.ext_fields)
        messages = decode_pulled(response.body, broker_name=broker_name)
        give_handles(messages, answer, broker_name)
        return PopResult(status, messages)

    async def wait_for_message(self, address: str, header: NotificationRequestHeader, *, broker_name: str) -> bool:
        """Waits until a pop would find something; False when the time is over, or too many wait."""
        command = _for_broker(RemotingCommand.request(header), broker_name)
        response = await ask(self._remoting, address, command, header.poll_time + ANSWER_LATE_MS)
        return NotificationResponseHeader.decode(response.ext_fields).has_msg

    async def ack(self, address: str, group: str, topic: str, handle: str) -> None:
        """A message is done; `topic` is the one it was popped from."""
        receipt = pop_handle.parse_receipt(handle)
        header = AckMessageRequestHeader(
            consumer_group=group,
            topic=pop_handle.real_topic(topic, group, receipt.retry_flag),
            queue_id=receipt.queue_id,
            extra_info=handle,
            offset=receipt.queue_offset,
        )
        command = _for_broker(RemotingCommand.request(header), receipt.broker_name)
        await ask(self._remoting, address, command, self._timeout_ms)

    async def batch_ack(self, address: str, group: str, messages: Sequence[tuple[str, str]]) -> None:
        """Messages of one broker are done: topic and handle of each."""
        body = BatchAckRequestBody(acks=batch_entries(group, messages))
        body.broker_name = pop_handle.parse_receipt(messages[0][1]).broker_name
        command = RemotingCommand.request(RequestCode.BATCH_ACK_MESSAGE, json_dialect.encode(body))
        await ask(self._remoting, address, command, self._timeout_ms)

    async def change_invisible_time(self, address: str, group: str, topic: str, handle: str, invisible_ms: int) -> str:
        """Keeps a message from others for so long from now on. Returns: its new handle; the old one has ended."""
        receipt = pop_handle.parse_receipt(handle)
        header = ChangeInvisibleTimeRequestHeader(
            consumer_group=group,
            topic=pop_handle.real_topic(topic, group, receipt.retry_flag),
            queue_id=receipt.queue_id,
            extra_info=handle,
            offset=receipt.queue_offset,
            invisible_time=invisible_ms,
        )
        command = _for_broker(RemotingCommand.request(header), receipt.broker_name)
        response = await ask(self._remoting, address, command, self._timeout_ms)
        answer = ChangeInvisibleTimeResponseHeader.decode(response.ext_fields)
        return pop_handle.join_receipt(
            receipt._replace(
                start_offset=receipt.queue_offset,
                pop_time=answer.pop_time,
                invisible_time=answer.invisible_time,
                revive_qid=answer.revive_qid,
            )
        )


def give_handles(messages: Sequence[MessageExt], answer: PopMessageResponseHeader, broker_name: str) -> None:
    """Puts handle and first pop time into messages; one that comes again has a handle in its record already.

    Source: MQClientAPIImpl.processPopResponse (5.3). Raises: RemoteProtocolError.
    """
    starts = pop_handle.parse_start_offsets(answer.start_offset_info or "")
    for message in messages:
        message.properties.setdefault(message_const.FIRST_POP_TIME, str(answer.pop_time))
        if message_const.POP_CK in message.properties:
            continue
        place = pop_handle.retry_flag(message.topic), message.queue_id
        # Brokers of the first releases with POP tell no starts: a message is its own.
        start = starts.get(place, message.queue_offset)
        message.properties[message_const.POP_CK] = pop_handle.build_handle(
            start, answer.pop_time, answer.invisible_time, answer.revive_qid, message.topic, broker_name, message.queue_id,
            message.queue_offset,
        )  # fmt: skip


def batch_entries(group: str, messages: Sequence[tuple[str, str]]) -> list[BatchAckEntry]:
    """Entries of a batch ack: one for the messages of one pop of one queue.

    Source: MQClientAPIImpl.batchAckMessageAsync (5.3).
    """
    together: dict[tuple[str, str, int, int, int, int, int], list[int]] = {}
    for topic, handle in messages:
        one = pop_handle.parse_receipt(handle)
        key = topic, one.retry_flag, one.queue_id, one.start_offset, one.pop_time, one.revive_qid, one.invisible_time
        together.setdefault(key, []).append(one.queue_offset)
    return [
        BatchAckEntry(c=group, t=topic, r=flag, so=start, q=queue_id, rq=revive, pt=pop_time, it=invisible,
                      b=encode_bit_set(start, offsets))
        for (topic, flag, queue_id, start, pop_time, revive, invisible), offsets in together.items()
    ]  # fmt: skip


def _for_broker(command: RemotingCommand, broker_name: str) -> RemotingCommand:
    """A proxy in front of brokers goes by it."""
    command.ext_fields = {**(command.ext_fields or {}), "bname": broker_name}
    return command
