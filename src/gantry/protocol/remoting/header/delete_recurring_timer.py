"""Header of DELETE_RECURRING_TIMER (900013), ours."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class DeleteRecurringTimerRequestHeader(RequestHeader, code=RequestCode.DELETE_RECURRING_TIMER):
    """A recurring timer ends, and its message that waits already is cancelled."""

    name: str = wire("name")
