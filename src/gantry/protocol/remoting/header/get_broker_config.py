"""GET_BROKER_CONFIG."""

from __future__ import annotations

from gantry.protocol.remoting.header.base import ResponseHeader, wire


class GetBrokerConfigResponseHeader(ResponseHeader):
    """What comes back."""

    version: str | None = wire("version", default=None)
