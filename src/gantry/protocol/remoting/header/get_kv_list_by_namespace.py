"""Header of GET_KVLIST_BY_NAMESPACE (219)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class GetKVListByNamespaceRequestHeader(RequestHeader, code=RequestCode.GET_KVLIST_BY_NAMESPACE):
    """All keys of a namespace."""

    namespace: str = wire("namespace")
