"""Header of GET_BROKER_CONSUME_STATS (317)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class GetBrokerConsumeStatsRequestHeader(RequestHeader, code=RequestCode.GET_BROKER_CONSUME_STATS):
    """How far all groups of this broker are."""

    is_order: bool = wire("isOrder")
