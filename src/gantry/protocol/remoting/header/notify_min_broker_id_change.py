"""Header of NOTIFY_MIN_BROKER_ID_CHANGE (905)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class NotifyMinBrokerIdChangeRequestHeader(RequestHeader, code=RequestCode.NOTIFY_MIN_BROKER_ID_CHANGE):
    """The smallest living broker id of a name changed; sent to its members."""

    min_broker_id: int | None = wire("minBrokerId", default=None)
    broker_name: str | None = wire("brokerName", default=None)
    min_broker_addr: str | None = wire("minBrokerAddr", default=None)
    offline_broker_addr: str | None = wire("offlineBrokerAddr", default=None)
    ha_broker_addr: str | None = wire("haBrokerAddr", default=None)
