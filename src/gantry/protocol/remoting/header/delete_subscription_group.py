"""Header of DELETE_SUBSCRIPTIONGROUP (207)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class DeleteSubscriptionGroupRequestHeader(RequestHeader, code=RequestCode.DELETE_SUBSCRIPTIONGROUP):
    """Delete a group on this broker."""

    group_name: str = wire("groupName")
    clean_offset: bool | None = wire("cleanOffset", default=None)
