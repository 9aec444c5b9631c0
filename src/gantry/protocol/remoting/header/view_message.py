"""Header of VIEW_MESSAGE_BY_ID (33)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class ViewMessageRequestHeader(RequestHeader, code=RequestCode.VIEW_MESSAGE_BY_ID):
    """One message by its commit log offset."""

    topic: str | None = wire("topic", default=None)
    offset: int = wire("offset")
