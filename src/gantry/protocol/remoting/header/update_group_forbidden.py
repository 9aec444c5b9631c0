"""Header of UPDATE_AND_GET_GROUP_FORBIDDEN (353)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class UpdateGroupForbiddenRequestHeader(RequestHeader, code=RequestCode.UPDATE_AND_GET_GROUP_FORBIDDEN):
    """Forbid or allow a group to read a topic."""

    group: str = wire("group")
    topic: str = wire("topic")
    readable: bool | None = wire("readable", default=None)
