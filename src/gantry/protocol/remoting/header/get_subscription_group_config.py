"""Header of GET_SUBSCRIPTIONGROUP_CONFIG (352)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class GetSubscriptionGroupConfigRequestHeader(RequestHeader, code=RequestCode.GET_SUBSCRIPTIONGROUP_CONFIG):
    """One group of this broker."""

    group: str = wire("group")
