"""Header of QUERY_SUBSCRIPTION_BY_CONSUMER (345)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class QuerySubscriptionByConsumerRequestHeader(RequestHeader, code=RequestCode.QUERY_SUBSCRIPTION_BY_CONSUMER):
    """A group's subscription to a topic."""

    group: str = wire("group")
    topic: str | None = wire("topic", default=None)
