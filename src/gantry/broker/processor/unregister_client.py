"""UNREGISTER_CLIENT (35): a client leaves a producer group, a consumer group, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.unregister_client import UnregisterClientRequestHeader

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class UnregisterClientProcessor:
    """Takes the connection out of the groups named, and tells the others of the consumer group at once."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: UnregisterClientRequestHeader) -> RemotingCommand:
        broker = self._broker
        if header.producer_group:
            broker.producers.unregister(header.producer_group, ctx.channel)
        if header.consumer_group:
            # Looked up without creating: a client that leaves must not make its group.
            config = broker.subscriptions.table.get(header.consumer_group)
            change = broker.consumers.unregister(
                header.consumer_group,
                ctx.channel,
                notify_enabled=config is None or config.notify_consumer_ids_changed_enable,
            )
            if change is not None:
                broker.client_manager.announce([change])
        return request.reply()
