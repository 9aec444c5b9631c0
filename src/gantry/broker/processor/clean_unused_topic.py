"""CLEAN_UNUSED_TOPIC (316): removes queues of topics that this broker does not have any more."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)


class CleanUnusedTopicProcessor:
    """Source: AdminBrokerProcessor.cleanUnusedTopic (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        log.warning("invoke cleanUnusedTopic, caller %s", ctx.channel.remote_address)
        await self._broker.store.clean_unused_topics(set(self._broker.topics.table))
        return request.reply()
