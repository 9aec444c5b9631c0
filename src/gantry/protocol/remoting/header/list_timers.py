"""Header of LIST_TIMERS (900001), ours."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class ListTimersRequestHeader(RequestHeader, code=RequestCode.LIST_TIMERS):
    """Timers of a topic that wait, in the order of their time, or those with a message key or a unique id.

    `begin_ms` and `end_ms` bound the time of delivery, the end exclusive. `place` is where an earlier answer said to go on;
    the answer's body is a `TimersPage`.
    """

    topic: str = wire("topic")
    key: str | None = wire("key", default=None)
    unique_key: str | None = wire("uniqueKey", default=None)
    begin_ms: int | None = wire("beginMs", default=None)
    end_ms: int | None = wire("endMs", default=None)
    max_num: int | None = wire("maxNum", default=None, bits=32)
    place: str | None = wire("place", default=None)
