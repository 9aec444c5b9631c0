"""GET_PRODUCER_CONNECTION_LIST (204): connections of a producer group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol.remoting.body.consumer import ProducerConnection
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_producer_connection_list import GetProducerConnectionListRequestHeader

from .get_consumer_connection_list import connection_of
from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetProducerConnectionListProcessor:
    """Source: AdminBrokerProcessor.getProducerConnectionList (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetProducerConnectionListRequestHeader
    ) -> RemotingCommand:
        clients = self._broker.producers.channels_of(header.producer_group)
        if clients is None:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"the producer group[{header.producer_group}] not exist")
        return json_reply(request, ProducerConnection([connection_of(client) for client in clients]))
