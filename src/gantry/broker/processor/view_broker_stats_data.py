"""VIEW_BROKER_STATS_DATA (315): one counter over the last minute, hour and day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol.remoting.body.broker_stats_data import BrokerStatsData, BrokerStatsItem
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.view_broker_stats_data import ViewBrokerStatsDataRequestHeader

from ..stats.stats_item import StatsSnapshot
from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class ViewBrokerStatsDataProcessor:
    """Source: AdminBrokerProcessor.ViewBrokerStatsData (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: ViewBrokerStatsDataRequestHeader
    ) -> RemotingCommand:
        item = self._broker.stats.find(header.stats_name, header.stats_key)
        if item is None:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"The stats <{header.stats_name}> <{header.stats_key}> not exist")
        body = BrokerStatsData(stats_minute=_item(item.minute()), stats_hour=_item(item.hour()), stats_day=_item(item.day()))
        return json_reply(request, body)


def _item(snapshot: StatsSnapshot) -> BrokerStatsItem:
    return BrokerStatsItem(sum=snapshot.sum, tps=snapshot.tps, avgpt=snapshot.avgpt)
