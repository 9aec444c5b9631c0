"""Header of GET_KV_CONFIG (101)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class GetKVConfigRequestHeader(RequestHeader, code=RequestCode.GET_KV_CONFIG):
    """Read a name server key."""

    namespace: str = wire("namespace")
    key: str = wire("key")


class GetKVConfigResponseHeader(ResponseHeader):
    """Answer to GET_KV_CONFIG."""

    value: str | None = wire("value", default=None)
