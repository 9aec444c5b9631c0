"""Headers of requests and responses, one file per request; see `base` for how they are declared."""

from gantry.protocol.remoting.header.base import Header, RequestHeader, ResponseHeader, wire

__all__ = ["Header", "RequestHeader", "ResponseHeader", "wire"]
