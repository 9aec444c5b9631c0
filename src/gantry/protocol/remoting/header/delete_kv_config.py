"""Header of DELETE_KV_CONFIG (102)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class DeleteKVConfigRequestHeader(RequestHeader, code=RequestCode.DELETE_KV_CONFIG):
    """Remove a name server key."""

    namespace: str = wire("namespace")
    key: str = wire("key")
