"""BATCH_ACK_MESSAGE (200151): many popped messages are done."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, StoreError
from gantry.protocol import json_dialect
from gantry.protocol.message.pop_handle import ORDER_REVIVE_QUEUE, real_topic
from gantry.protocol.remoting.body.batch_ack import LONG_NAMES, BatchAckEntry, BatchAckRequestBody
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.remoting_server import RequestContext

from ..pop.acks import ack_in_order

if TYPE_CHECKING:
    from ..context import BrokerContext
    from ..pop.ledger import PopQueue

log = logging.getLogger(__name__)


class BatchAckMessageProcessor:
    """Entries are of one pop of one queue each; what lies outside of the queue is passed over.

    Source: AckMessageProcessor.appendAck (5.3).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        body = decode_batch_ack(request.body) if request.body else None
        if body is None or not body.acks:
            return request.reply(ResponseCode.NO_MESSAGE, "the batch acknowledges nothing")
        refusal = None
        acks: list[tuple[PopQueue, list[int], int]] = []
        try:
            for entry in body.acks:
                refusal = self._ack(ctx, entry, acks) or refusal
            self._broker.pop.account.ack_all(acks)
        except StoreError as error:
            log.error("acknowledgements are not noted: %s", error)
            raise BrokerError(ResponseCode.SERVICE_NOT_AVAILABLE, str(error)) from error
        if refusal is not None:
            return request.reply(ResponseCode.MESSAGE_ILLEGAL, refusal)
        return request.reply()

    def _ack(self, ctx: RequestContext, entry: BatchAckEntry, acks: list[tuple[PopQueue, list[int], int]]) -> str | None:
        """Orderly ones are done at once, the others are added to `acks`. Raises: StoreError."""
        broker = self._broker
        topic, group, queue_id = real_topic(entry.t, entry.c, entry.r), entry.c, entry.q
        first, end = broker.store.min_offset(topic, queue_id), broker.store.max_offset(topic, queue_id)
        offsets = [offset for offset in entry.offsets() if first <= offset <= end]
        if entry.rq == ORDER_REVIVE_QUEUE:
            refusal = None
            for offset in offsets:
                told = ack_in_order(broker, topic, group, queue_id, offset, entry.pt, ctx.channel.remote_address)
                refusal = told or refusal
            return refusal
        queue = broker.pop.account.find(topic, group, queue_id)
        if queue is not None:
            acks.append((queue, offsets, entry.pt))
        return None


def decode_batch_ack(data: bytes) -> BatchAckRequestBody:
    """The body, with the long member names of older clients, too. Raises: RemoteProtocolError."""
    if b"consumerGroup" not in data:
        return json_dialect.decode_request(data, BatchAckRequestBody)
    json_dialect.check_size(data)
    value = json_dialect.decode(data)
    if isinstance(value, dict) and isinstance(value.get("acks"), list):
        value["acks"] = [
            {LONG_NAMES.get(name, name): each for name, each in entry.items()} if isinstance(entry, dict) else entry
            for entry in value["acks"]
        ]
    return json_dialect.convert(value, BatchAckRequestBody)
