"""UPDATE_BROKER_CONFIG (25): changes settings while the broker runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, ConfigError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.properties import parse_request

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)


class UpdateBrokerConfigProcessor:
    """The body is properties text. Only reloadable keys; the file the broker was started with keeps them.

    Source: AdminBrokerProcessor.updateBrokerConfig (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        broker = self._broker
        try:
            pairs = parse_request(request.body)
        except ConfigError as error:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"string2Properties error: {error}") from None
        log.info("updateBrokerConfig of %s called by %s", ", ".join(sorted(pairs)), ctx.channel.remote_address)
        await broker.config_updates.apply(pairs)
        broker.config_changed()
        if "brokerPermission" in pairs:
            # The permission masks every topic in the route: name servers have to hear of all of them again.
            broker.topics.data_version.next_version(broker.clock.now_ms())
            broker.on_topic_change(list(broker.topics.table))
        return request.reply()
