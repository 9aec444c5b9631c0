"""Header of REGISTER_BROKER (103)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class RegisterBrokerRequestHeader(RequestHeader, code=RequestCode.REGISTER_BROKER):
    """A broker tells a name server of itself and its topics."""

    broker_name: str = wire("brokerName")
    broker_addr: str = wire("brokerAddr")
    cluster_name: str = wire("clusterName")
    ha_server_addr: str = wire("haServerAddr")
    broker_id: int = wire("brokerId")
    heartbeat_timeout_millis: int | None = wire("heartbeatTimeoutMillis", default=None)
    enable_acting_master: bool | None = wire("enableActingMaster", default=None)
    compressed: bool | None = wire("compressed", default=None)
    body_crc32: int | None = wire("bodyCrc32", default=None, bits=32)


class RegisterBrokerResponseHeader(ResponseHeader):
    """Answer to REGISTER_BROKER."""

    ha_server_addr: str | None = wire("haServerAddr", default=None)
    master_addr: str | None = wire("masterAddr", default=None)
