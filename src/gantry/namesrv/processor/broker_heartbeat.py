"""BROKER_HEARTBEAT: a broker lives, with nothing new to register."""

from __future__ import annotations

from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.broker_heartbeat import BrokerHeartbeatRequestHeader
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class BrokerHeartbeatProcessor:
    """Refreshes a registered broker; one that is not registered is answered 0 too, and nothing happens."""

    def __init__(self, names: NamesrvContext) -> None:
        self._service = names.service

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: BrokerHeartbeatRequestHeader) -> RemotingCommand:
        self._service.heartbeat(header.cluster_name, header.broker_addr)
        return request.reply()
