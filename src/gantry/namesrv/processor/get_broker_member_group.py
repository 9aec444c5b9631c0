"""GET_BROKER_MEMBER_GROUP: the addresses under one broker name."""

from __future__ import annotations

from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.route import BrokerMemberGroup, BrokerMemberGroupBody
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_broker_member_group import GetBrokerMemberGroupRequestHeader
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class GetBrokerMemberGroupProcessor:
    """A group without addresses for a name nobody registered."""

    def __init__(self, names: NamesrvContext) -> None:
        self._routes = names.routes

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetBrokerMemberGroupRequestHeader
    ) -> RemotingCommand:
        addrs = self._routes.broker_member_group(header.broker_name)
        group = BrokerMemberGroup(header.cluster_name, header.broker_name, addrs)
        return request.reply(body=json_dialect.encode(BrokerMemberGroupBody(group)))
