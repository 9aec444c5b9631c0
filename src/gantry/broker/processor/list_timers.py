"""LIST_TIMERS (900001), ours: what waits for a topic, by time or by key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol.remoting.body.timers import TimersPage
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.list_timers import ListTimersRequestHeader
from gantry.store.timer import WalkPlace

from ..timer.pending_timers import PendingTimers
from .json_reply import json_reply
from .timer_orders import check_readable, count_of, matching, told

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

_PLACE = re.compile(r"([0-9]{1,18}):(-1|[0-9]{1,18})\Z")
_EVER_MS = 1 << 62


class ListTimersProcessor:
    """One page. What one request looks at is bounded, so a page may be short, or empty, and say where to go on."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(self, ctx: RequestContext, request: RemotingCommand, header: ListTimersRequestHeader) -> RemotingCommand:
        broker = self._broker
        check_readable(broker, header.topic)
        count_max = count_of(header.max_num)
        begin_ms = header.begin_ms if header.begin_ms is not None else 0
        end_ms = header.end_ms if header.end_ms is not None else _EVER_MS
        if not 0 <= begin_ms <= end_ms:
            raise BrokerError(ResponseCode.INVALID_PARAMETER, f"the times {begin_ms} to {end_ms} are no range")
        if header.key is not None or header.unique_key is not None:
            found = await matching(broker, header.topic, header.key, header.unique_key)
            within = [each for each in found if begin_ms <= each.deliver_ms < end_ms]
            if len(within) > count_max:
                raise BrokerError(ResponseCode.ILLEGAL_OPERATION, f"{len(within)} timers match, maxNum is {count_max}")
            return json_reply(request, TimersPage([told(each) for each in within]))
        place = WalkPlace(0)
        if header.place is not None:
            said = _PLACE.match(header.place)
            if said is None:
                raise BrokerError(ResponseCode.INVALID_PARAMETER, f"{header.place[:64]!r} is no place of an earlier answer")
            place = WalkPlace(int(said[1]), int(said[2]))
        page, following = await PendingTimers(broker.store, broker.timer).page(
            header.topic, place, begin_ms=begin_ms, end_ms=end_ms, count_max=count_max
        )
        going_on = f"{following.slot_ms}:{following.position}" if following is not None else None
        return json_reply(request, TimersPage([told(each) for each in page], going_on))
