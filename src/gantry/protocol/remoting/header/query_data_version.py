"""Header of QUERY_DATA_VERSION (322)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class QueryDataVersionRequestHeader(RequestHeader, code=RequestCode.QUERY_DATA_VERSION):
    """Whether a name server has a broker's newest tables."""

    broker_name: str = wire("brokerName")
    broker_addr: str = wire("brokerAddr")
    cluster_name: str = wire("clusterName")
    broker_id: int = wire("brokerId")


class QueryDataVersionResponseHeader(ResponseHeader):
    """Answer to QUERY_DATA_VERSION."""

    changed: bool = wire("changed")
