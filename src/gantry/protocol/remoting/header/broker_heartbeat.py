"""Header of BROKER_HEARTBEAT (904)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class BrokerHeartbeatRequestHeader(RequestHeader, code=RequestCode.BROKER_HEARTBEAT):
    """A broker is alive."""

    cluster_name: str = wire("clusterName")
    broker_addr: str = wire("brokerAddr")
    broker_name: str = wire("brokerName")
    broker_id: int | None = wire("brokerId", default=None)
    epoch: int | None = wire("epoch", default=None, bits=32)
    max_offset: int | None = wire("maxOffset", default=None)
    confirm_offset: int | None = wire("confirmOffset", default=None)
    heartbeat_timeout_mills: int | None = wire("heartbeatTimeoutMills", default=None)
    election_priority: int | None = wire("electionPriority", default=None, bits=32)
