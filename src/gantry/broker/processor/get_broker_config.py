"""GET_BROKER_CONFIG (26): every setting as properties text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol import json_dialect
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_broker_config import GetBrokerConfigResponseHeader
from gantry.runtime.properties import format_properties

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetBrokerConfigProcessor:
    """Secrets are masked. Source: AdminBrokerProcessor.getBrokerConfig (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        texts = self._broker.config.to_properties(mask_secrets=True)
        version = json_dialect.encode(self._broker.config_updates.data_version).decode()
        body = format_properties(dict(sorted(texts.items())))
        return request.reply(header=GetBrokerConfigResponseHeader(version=version), body=body.encode())
