"""Header of GET_BROKER_MEMBER_GROUP (901)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class GetBrokerMemberGroupRequestHeader(RequestHeader, code=RequestCode.GET_BROKER_MEMBER_GROUP):
    """Addresses under one broker name."""

    cluster_name: str = wire("clusterName")
    broker_name: str = wire("brokerName")
