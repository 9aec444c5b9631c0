"""LIST_RECURRING_TIMERS (900012), ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.body.timers import RecurringTimers
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.list_recurring_timers import ListRecurringTimersRequestHeader

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class ListRecurringTimersProcessor:
    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: ListRecurringTimersRequestHeader
    ) -> RemotingCommand:
        return json_reply(request, RecurringTimers(self._broker.recurring.list(header.topic)))
