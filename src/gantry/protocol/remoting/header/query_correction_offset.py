"""Header of QUERY_CORRECTION_OFFSET (308)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class QueryCorrectionOffsetRequestHeader(RequestHeader, code=RequestCode.QUERY_CORRECTION_OFFSET):
    """Smallest offsets among groups, compared with one."""

    topic: str = wire("topic")
    compare_group: str = wire("compareGroup")
    filter_groups: str | None = wire("filterGroups", default=None)
