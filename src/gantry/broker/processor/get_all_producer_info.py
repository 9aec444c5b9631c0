"""GET_ALL_PRODUCER_INFO (328): every connected producer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.body.producer_info import ProducerInfo, ProducerTableInfo
from gantry.protocol.remoting.command import RemotingCommand

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetAllProducerInfoProcessor:
    """Source: AdminBrokerProcessor.getAllProducerInfo (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        table = {
            group: [
                ProducerInfo(
                    client_id=client.client_id,
                    remote_ip=f"/{client.channel.remote_address}",
                    language=client.language,
                    version=client.version,
                    last_update_timestamp=client.last_update_timestamp,
                )
                for client in clients
            ]
            for group, clients in self._broker.producers.group_table().items()
        }
        return json_reply(request, ProducerTableInfo(table))
