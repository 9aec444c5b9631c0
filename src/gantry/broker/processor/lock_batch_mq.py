"""LOCK_BATCH_MQ (41): an orderly consumer asks to own queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.body.lock_batch import LockBatchResponseBody, decode_lock_batch
from gantry.protocol.remoting.command import RemotingCommand

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class LockBatchMqProcessor:
    """Grants by lease; the answer lists what the client owns now. Source: AdminBrokerProcessor.lockBatchMQ (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        body = decode_lock_batch(request.body)
        granted = self._broker.locks.try_lock_batch(body.consumer_group, body.mq_set, body.client_id)
        return json_reply(request, LockBatchResponseBody(granted))
