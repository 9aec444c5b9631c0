"""UNLOCK_BATCH_MQ (42): an orderly consumer gives queues back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.body.lock_batch import decode_lock_batch
from gantry.protocol.remoting.command import RemotingCommand

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class UnlockBatchMqProcessor:
    """Source: AdminBrokerProcessor.unlockBatchMQ (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        body = decode_lock_batch(request.body)
        self._broker.locks.unlock_batch(body.consumer_group, body.mq_set, body.client_id)
        return request.reply()
