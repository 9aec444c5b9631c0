"""Header of GET_BROKER_CONFIG (26)."""

from __future__ import annotations

from gantry.protocol.remoting.header.base import ResponseHeader, wire


class GetBrokerConfigResponseHeader(ResponseHeader):
    """Answer to GET_BROKER_CONFIG."""

    version: str | None = wire("version", default=None)
