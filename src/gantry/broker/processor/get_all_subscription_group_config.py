"""GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201): every consumer group of this broker, whole or by pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.body.subscription_group import SubscriptionGroupWrapper
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_all_subscription_group import (
    GetAllSubscriptionGroupRequestHeader,
    GetAllSubscriptionGroupResponseHeader,
)

from .json_reply import json_reply
from .metadata_page import page

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetAllSubscriptionGroupConfigProcessor:
    """Source: AdminBrokerProcessor.getAllSubscriptionGroup (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetAllSubscriptionGroupRequestHeader
    ) -> RemotingCommand:
        groups = self._broker.subscriptions
        part = page(
            groups.table,
            groups.data_version,
            seq=header.group_seq,
            data_version=header.data_version,
            count=header.max_group_num,
        )
        whole = len(part) == len(groups.table)
        forbidden = groups.forbidden_table
        body = SubscriptionGroupWrapper(
            subscription_group_table=part,
            forbidden_table=forbidden if whole else {name: forbidden[name] for name in part if name in forbidden},
            data_version=groups.data_version,
        )
        return json_reply(request, body, GetAllSubscriptionGroupResponseHeader(total_group_num=len(groups.table)))
