"""UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225): makes or changes many consumer groups; all or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.subscription_group import SubscriptionGroupListBody
from gantry.protocol.remoting.command import RemotingCommand

from .update_and_create_subscription_group import update_groups

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class UpdateAndCreateSubscriptionGroupListProcessor:
    """Source: AdminBrokerProcessor.updateAndCreateSubscriptionGroupList (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        body = json_dialect.decode_request(request.body, SubscriptionGroupListBody)
        await update_groups(self._broker, body.group_config_list)
        return request.reply()
