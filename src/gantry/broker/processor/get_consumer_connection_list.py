"""GET_CONSUMER_CONNECTION_LIST (203): connections and subscriptions of a consumer group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol.remoting.body.consumer import Connection, ConsumerConnection, MemberSubscription
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_consumer_connection_list import GetConsumerConnectionListRequestHeader

from ..client_manager.client_channel import ClientChannelInfo
from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetConsumerConnectionListProcessor:
    """Source: AdminBrokerProcessor.getConsumerConnectionList (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetConsumerConnectionListRequestHeader
    ) -> RemotingCommand:
        info = self._broker.consumers.group_info(header.consumer_group)
        if info is None:
            raise BrokerError(ResponseCode.CONSUMER_NOT_ONLINE, f"the consumer group[{header.consumer_group}] not online")
        body = ConsumerConnection(
            connection_set=[connection_of(client) for client in info.channels.values()],
            subscription_table=info.subscriptions,
            consume_type=info.consume_type,
            message_model=info.message_model,
            consume_from_where=info.consume_from_where,
        )
        if header.member_subscriptions:
            body.member_subscriptions = [
                MemberSubscription(client_ids, listening.message_model, list(listening.topics))
                for listening, client_ids in info.listening.variants()
            ]
        return json_reply(request, body)


def connection_of(client: ClientChannelInfo) -> Connection:
    """A connected client as operators are shown it."""
    return Connection(
        client_id=client.client_id,
        client_addr=client.channel.remote_address,
        language=client.language,
        version=client.version,
    )
