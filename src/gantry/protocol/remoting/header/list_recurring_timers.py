"""Header of LIST_RECURRING_TIMERS (900012), ours."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class ListRecurringTimersRequestHeader(RequestHeader, code=RequestCode.LIST_RECURRING_TIMERS):
    """All recurring timers of a broker, or those of a topic; the answer's body is `RecurringTimers`."""

    topic: str | None = wire("topic", default=None)
