"""Header of QUERY_MESSAGE (12)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class QueryMessageRequestHeader(RequestHeader, code=RequestCode.QUERY_MESSAGE):
    """Messages of a topic by key, newest first; by tag with `index_type` T.

    `last_key` is of use to the original's other index only. Source: QueryMessageRequestHeader (5.5).
    """

    topic: str = wire("topic")
    key: str = wire("key")
    max_num: int = wire("maxNum", bits=32)
    begin_timestamp: int = wire("beginTimestamp")
    end_timestamp: int = wire("endTimestamp")
    index_type: str | None = wire("indexType", default=None)
    last_key: str | None = wire("lastKey", default=None)


class QueryMessageResponseHeader(ResponseHeader):
    """Answer to QUERY_MESSAGE."""

    index_last_update_timestamp: int = wire("indexLastUpdateTimestamp")
    index_last_update_phyoffset: int = wire("indexLastUpdatePhyoffset")
