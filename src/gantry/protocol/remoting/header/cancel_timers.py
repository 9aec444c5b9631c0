"""Header of CANCEL_TIMERS (900002), ours."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class CancelTimersRequestHeader(RequestHeader, code=RequestCode.CANCEL_TIMERS):
    """All timers of a topic with a message key, or with a unique id, are never delivered; the answer's body is `TimerChanges`.

    Where more than `max_num` match nothing is done.
    """

    topic: str = wire("topic")
    key: str | None = wire("key", default=None)
    unique_key: str | None = wire("uniqueKey", default=None)
    max_num: int | None = wire("maxNum", default=None, bits=32)
