"""Header of PUT_KV_CONFIG (100)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class PutKVConfigRequestHeader(RequestHeader, code=RequestCode.PUT_KV_CONFIG):
    """Set a name server key."""

    namespace: str = wire("namespace")
    key: str = wire("key")
    value: str = wire("value")
