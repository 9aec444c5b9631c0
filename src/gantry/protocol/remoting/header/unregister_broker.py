"""Header of UNREGISTER_BROKER (104)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class UnregisterBrokerRequestHeader(RequestHeader, code=RequestCode.UNREGISTER_BROKER):
    """A broker leaves."""

    broker_name: str = wire("brokerName")
    broker_addr: str = wire("brokerAddr")
    cluster_name: str = wire("clusterName")
    broker_id: int = wire("brokerId")
