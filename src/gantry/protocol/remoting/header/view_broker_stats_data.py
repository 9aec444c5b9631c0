"""Header of VIEW_BROKER_STATS_DATA (315)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class ViewBrokerStatsDataRequestHeader(RequestHeader, code=RequestCode.VIEW_BROKER_STATS_DATA):
    """One statistic over minute, hour and day."""

    stats_name: str = wire("statsName")
    stats_key: str = wire("statsKey")
