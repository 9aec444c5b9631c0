"""WIPE_WRITE_PERM_OF_BROKER: no more sends to a broker, before it is taken down."""

from __future__ import annotations

import logging

from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.wipe_write_perm_of_broker import (
    WipeWritePermOfBrokerRequestHeader,
    WipeWritePermOfBrokerResponseHeader,
)
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext

log = logging.getLogger(__name__)


class WipeWritePermOfBrokerProcessor:
    """Holds until the broker's topics change, or it registers anew: then its own permissions count again."""

    def __init__(self, names: NamesrvContext) -> None:
        self._routes = names.routes

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: WipeWritePermOfBrokerRequestHeader
    ) -> RemotingCommand:
        count = self._routes.wipe_write_perm_of_broker(header.broker_name)
        log.info("wipe write perm of broker[%s], client: %s, %d", header.broker_name, ctx.channel.remote_address, count)
        return request.reply(header=WipeWritePermOfBrokerResponseHeader(wipe_topic_count=count))
