"""Header of GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class GetAllSubscriptionGroupRequestHeader(RequestHeader, code=RequestCode.GET_ALL_SUBSCRIPTIONGROUP_CONFIG):
    """All groups of this broker, whole or by page."""

    group_seq: int | None = wire("groupSeq", default=None, bits=32)
    data_version: str | None = wire("dataVersion", default=None)
    max_group_num: int | None = wire("maxGroupNum", default=None, bits=32)


class GetAllSubscriptionGroupResponseHeader(ResponseHeader):
    """Answer to GET_ALL_SUBSCRIPTIONGROUP_CONFIG."""

    total_group_num: int | None = wire("totalGroupNum", default=None, bits=32)
