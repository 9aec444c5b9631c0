"""CANCEL_TIMERS (900002), ours: what waits with a message key, or a unique id, is never delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.body.timers import TimerChange, TimerChanges
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.cancel_timers import CancelTimersRequestHeader
from gantry.runtime.address import split_address

from .json_reply import json_reply
from .timer_orders import is_in_time, mark_for, store_all, to_change, told

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class CancelTimersProcessor:
    """A mark for each match, the one that a recall by handle stores, all in one write: a Java broker honours them, too."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: CancelTimersRequestHeader
    ) -> RemotingCommand:
        broker, born_host = self._broker, split_address(ctx.channel.remote_address)
        async with broker.timer.changes:
            found = await to_change(broker, header.topic, header.key, header.unique_key, header.max_num)
            in_time = [is_in_time(broker, each) for each in found]
            marks = [mark_for(broker, each, born_host) for each, may in zip(found, in_time, strict=True) if may]
            await store_all(broker, marks)
        changes = [TimerChange(told(each), "cancelled" if may else "due") for each, may in zip(found, in_time, strict=True)]
        return json_reply(request, TimerChanges(changes))
