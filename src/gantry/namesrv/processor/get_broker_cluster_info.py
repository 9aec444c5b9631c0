"""GET_BROKER_CLUSTER_INFO: all clusters with all brokers."""

from __future__ import annotations

from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.route import ClusterInfo
from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class GetBrokerClusterInfoProcessor:
    """Always in the dialect with bare integer keys, whatever the asker's version."""

    def __init__(self, names: NamesrvContext) -> None:
        self._routes = names.routes

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        info = ClusterInfo(self._routes.all_brokers(), self._routes.all_clusters())
        return request.reply(body=json_dialect.encode(info))
