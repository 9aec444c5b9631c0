"""Header of NOTIFY_CONSUMER_IDS_CHANGED (40)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class NotifyConsumerIdsChangedRequestHeader(RequestHeader, code=RequestCode.NOTIFY_CONSUMER_IDS_CHANGED):
    """The members or subscriptions of a group changed; sent to its clients."""

    consumer_group: str = wire("consumerGroup")
