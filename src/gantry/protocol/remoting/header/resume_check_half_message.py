"""Header of RESUME_CHECK_HALF_MESSAGE (323)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class ResumeCheckHalfMessageRequestHeader(RequestHeader, code=RequestCode.RESUME_CHECK_HALF_MESSAGE):
    """Check a parked half message again."""

    topic: str | None = wire("topic", default=None)
    msg_id: str | None = wire("msgId", default=None)
