"""Header of CREATE_RECURRING_TIMER (900011), ours."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class CreateRecurringTimerRequestHeader(RequestHeader, code=RequestCode.CREATE_RECURRING_TIMER):
    """A message by a cron expression; the request's body is the message's.

    `properties` is a property string. `missed` says what becomes of times at which the broker was down: "once" or "skip".
    `queue_id` is -1 for any.
    """

    name: str = wire("name")
    topic: str = wire("topic")
    cron: str = wire("cron")
    time_zone: str = wire("timeZone", default="UTC")
    missed: str = wire("missed", default="once")
    queue_id: int = wire("queueId", default=-1, bits=32)
    properties: str = wire("properties", default="")
