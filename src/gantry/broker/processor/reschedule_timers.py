"""RESCHEDULE_TIMERS (900003), ours: what waits with a message key, or a unique id, comes at another time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.model import Host, StoreMessage, message_const
from gantry.protocol.message.record import store_again
from gantry.protocol.remoting.body.timers import TimerChange, TimerChanges
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.reschedule_timers import RescheduleTimersRequestHeader
from gantry.runtime.address import split_address

from ..timer.deliver_time import forget_time
from ..timer.due_message import timer_message
from ..timer.pending_timers import Pending, PendingTimers
from .json_reply import json_reply
from .send_message import encoded
from .timed_send import check_room, place_timed
from .timer_orders import PLAN_BYTES_MAX, is_in_time, mark_for, store_all, to_change, told

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class RescheduleTimersProcessor:
    """Appends the message with its new time, and behind it, in the same write, the mark that cancels the old one.

    A crash in between leaves both: the message comes twice unless the request is repeated. It never leaves none.
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: RescheduleTimersRequestHeader
    ) -> RemotingCommand:
        broker, born_host = self._broker, split_address(ctx.channel.remote_address)
        if header.deliver_ms < 0:
            raise BrokerError(ResponseCode.INVALID_PARAMETER, f"{header.deliver_ms} is no time")
        changes: list[TimerChange] = []
        async with broker.timer.changes:
            found = await to_change(broker, header.topic, header.key, header.unique_key, header.max_num)
            messages: list[StoreMessage] = []
            size = 0
            for pending in found:
                change, pair = await self._change(pending, header.deliver_ms, born_host)
                changes.append(change)
                messages += pair
                size += sum(len(each.body) + len(each.properties) for each in pair)
                if size >= PLAN_BYTES_MAX:
                    await store_all(broker, messages)
                    messages, size = [], 0
            await store_all(broker, messages)
        return json_reply(request, TimerChanges(changes))

    async def _change(self, pending: Pending, deliver_ms: int, born_host: Host) -> tuple[TimerChange, list[StoreMessage]]:
        """What is done to one timer, and what is stored for it. Raises: BrokerError."""
        broker = self._broker
        record = await broker.store.message_at(pending.offset)
        message = timer_message(bytes(record)) if record is not None else None
        if message is None or not is_in_time(broker, pending):
            return TimerChange(told(pending), "due"), []
        properties = dict(message.properties)
        forget_time(properties)
        for name in (message_const.REAL_TOPIC, message_const.REAL_QUEUE_ID, message_const.TIMER_OUT_MS):
            properties.pop(name, None)
        properties[message_const.TIMER_DELIVER_MS] = str(deliver_ms)
        topic, queue_id = place_timed(broker, properties, message.topic, message.queue_id)
        new_out_ms = None
        if message_const.TIMER_OUT_MS in properties:
            new_out_ms = broker.timer.book.floor(int(properties[message_const.TIMER_OUT_MS]))
        if new_out_ms == pending.out_ms:
            return TimerChange(told(pending), "unchanged", pending.unique_key, pending.deliver_ms), []
        alike, recalled = await PendingTimers(broker.store, broker.timer).by_unique_key(pending.topic, pending.unique_key)
        unique_key = pending.unique_key
        stored: list[StoreMessage] = []
        if not any(each.identity == (unique_key, new_out_ms, pending.born_timestamp, pending.born_host) for each in alike):
            if new_out_ms in recalled:
                # It was there before, and was moved away: the mark that did that is for everything of that id in that slot.
                unique_key = broker.unique_ids.next_id(broker.clock.now_ms())
                properties[message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX] = unique_key
            data = encoded(properties)
            check_room(broker, data)
            stored.append(store_again(message.view, topic=topic, queue_id=queue_id, properties=data, wait_store_ok=True))
        stored.append(mark_for(broker, pending, born_host))
        comes_ms = new_out_ms + broker.timer.book.precision_ms if new_out_ms is not None else broker.clock.now_ms()
        return TimerChange(told(pending), "rescheduled", unique_key, comes_ms), stored
