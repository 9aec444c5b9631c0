"""ADD_WRITE_PERM_OF_BROKER: sends to a broker again."""

from __future__ import annotations

import logging

from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.add_write_perm_of_broker import (
    AddWritePermOfBrokerRequestHeader,
    AddWritePermOfBrokerResponseHeader,
)
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext

log = logging.getLogger(__name__)


class AddWritePermOfBrokerProcessor:
    """Every topic of the broker becomes readable and writable, whatever it was before."""

    def __init__(self, names: NamesrvContext) -> None:
        self._routes = names.routes

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: AddWritePermOfBrokerRequestHeader
    ) -> RemotingCommand:
        count = self._routes.add_write_perm_of_broker(header.broker_name)
        log.info("add write perm of broker[%s], client: %s, %d", header.broker_name, ctx.channel.remote_address, count)
        return request.reply(header=AddWritePermOfBrokerResponseHeader(add_topic_count=count))
