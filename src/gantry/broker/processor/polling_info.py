"""POLLING_INFO (200055): how many pops wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.polling_info import PollingInfoRequestHeader, PollingInfoResponseHeader
from gantry.runtime.remoting_server import RequestContext

from .pop_checks import check_readable, check_topic_and_group

if TYPE_CHECKING:
    from ..context import BrokerContext


class PollingInfoProcessor:
    """Counts pops that asked for just this queue id, -1 among them. Source: PollingInfoProcessor (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: PollingInfoRequestHeader) -> RemotingCommand:
        check_readable(self._broker, "peeking")
        check_topic_and_group(self._broker, ctx, header.topic, header.consumer_group, header.queue_id)
        count = self._broker.pop.pops.count_of((header.topic, header.consumer_group, header.queue_id))
        return request.reply(header=PollingInfoResponseHeader(polling_num=count))
