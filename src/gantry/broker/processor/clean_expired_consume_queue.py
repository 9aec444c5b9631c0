"""CLEAN_EXPIRED_CONSUMEQUEUE (306): removes queue files whose messages are all gone from the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)


class CleanExpiredConsumeQueueProcessor:
    """Source: AdminBrokerProcessor.cleanExpiredConsumeQueue (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        log.warning("invoke cleanExpiredConsumeQueue, caller %s", ctx.channel.remote_address)
        await self._broker.store.clean_expired_consume_queue()
        return request.reply()
