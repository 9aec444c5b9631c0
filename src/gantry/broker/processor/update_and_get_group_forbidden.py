"""UPDATE_AND_GET_GROUP_FORBIDDEN (353): forbids or allows a group to read a topic, and says how it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.body.group_list import GroupForbidden
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.update_group_forbidden import UpdateGroupForbiddenRequestHeader

from ..subscription.subscription_group_manager import FORBIDDEN_READ_BIT
from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class UpdateAndGetGroupForbiddenProcessor:
    """Without `readable` it only says. Source: AdminBrokerProcessor.updateAndGetGroupForbidden (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: UpdateGroupForbiddenRequestHeader
    ) -> RemotingCommand:
        groups = self._broker.subscriptions
        if header.readable is not None:
            groups.update_forbidden(header.group, header.topic, FORBIDDEN_READ_BIT, not header.readable)
            await groups.file.flush()
        readable = not groups.is_forbidden(header.group, header.topic, FORBIDDEN_READ_BIT)
        return json_reply(request, GroupForbidden(group=header.group, topic=header.topic, readable=readable))
