"""Header of GET_CONSUMER_CONNECTION_LIST (203)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class GetConsumerConnectionListRequestHeader(RequestHeader, code=RequestCode.GET_CONSUMER_CONNECTION_LIST):
    """Connections and subscriptions of a group."""

    consumer_group: str = wire("consumerGroup")
    member_subscriptions: bool | None = wire("memberSubscriptions", default=None)
    """Ours: whether the answer is to say what each member listens to; official brokers pass over it."""
