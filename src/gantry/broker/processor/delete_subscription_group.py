"""DELETE_SUBSCRIPTIONGROUP (207): forgets a consumer group, and its offsets when asked."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.delete_subscription_group import DeleteSubscriptionGroupRequestHeader

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)


class DeleteSubscriptionGroupProcessor:
    """A group that is not there is deleted successfully. Source: AdminBrokerProcessor.deleteSubscriptionGroup (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: DeleteSubscriptionGroupRequestHeader
    ) -> RemotingCommand:
        broker, group = self._broker, header.group_name
        log.info("deleteSubscriptionGroup %s, caller=%s", group, ctx.channel.remote_address)
        broker.subscriptions.delete(group)
        if header.clean_offset:
            broker.offsets.remove_group(group)
            broker.pop.forget_group(group)
            await broker.offsets.file.flush()
        broker.stats.group_deleted(group)
        broker.metrics.group_deleted(group)
        await broker.subscriptions.file.flush()
        return request.reply()
