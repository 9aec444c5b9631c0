"""GET_CONSUMER_LIST_BY_GROUP (38): the client ids of a group, from which every member computes its queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol.remoting.body.consumer import ConsumerListBody
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_consumer_list_by_group import GetConsumerListByGroupRequestHeader

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetConsumerListByGroupProcessor:
    """Source: ConsumerManageProcessor.getConsumerListByGroup (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetConsumerListByGroupRequestHeader
    ) -> RemotingCommand:
        info = self._broker.consumers.group_info(header.consumer_group)
        if info is None:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"no consumer for this group, {header.consumer_group}")
        return json_reply(request, ConsumerListBody(info.client_ids()))
