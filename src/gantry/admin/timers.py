"""What waits for a topic, and what recurs: listing, cancelling, re-scheduling, cron. Official brokers know none of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from gantry.client.remoting import Remoting, ask
from gantry.errors import BrokerError, ClientError
from gantry.model import Message
from gantry.protocol import json_dialect
from gantry.protocol.message.properties import encode_properties
from gantry.protocol.remoting import RemotingCommand, ResponseCode
from gantry.protocol.remoting.body.timers import (
    PendingTimer,
    RecurringTimer,
    RecurringTimers,
    TimerChange,
    TimerChanges,
    TimersPage,
)
from gantry.protocol.remoting.header.base import RequestHeader
from gantry.protocol.remoting.header.cancel_timers import CancelTimersRequestHeader
from gantry.protocol.remoting.header.create_recurring_timer import CreateRecurringTimerRequestHeader
from gantry.protocol.remoting.header.delete_recurring_timer import DeleteRecurringTimerRequestHeader
from gantry.protocol.remoting.header.list_recurring_timers import ListRecurringTimersRequestHeader
from gantry.protocol.remoting.header.list_timers import ListTimersRequestHeader
from gantry.protocol.remoting.header.reschedule_timers import RescheduleTimersRequestHeader

TIMEOUT_MS = 10_000
PAGE_MAX = 200

Masters = Callable[[str], Awaitable[list[tuple[str, str]]]]
"""Name and address of each master that has a topic."""


@dataclass(frozen=True, slots=True)
class BrokerTimer:
    """A timer, and the broker on which it waits."""

    broker_name: str
    timer: PendingTimer


@dataclass(frozen=True, slots=True)
class BrokerChange:
    """What a broker did to one timer; see `TimerChange.outcome`."""

    broker_name: str
    change: TimerChange


@dataclass(frozen=True, slots=True)
class BrokerRecurring:
    """A recurring timer, and the broker that has it."""

    broker_name: str
    timer: RecurringTimer


class TimerAdmin:
    """Pending timers over all brokers of a topic.

    Where a message key is asked for, a unique id may be given instead; a key may be that of several timers. Times are ms since
    1970. Every method raises ClientError, BrokerError or RemotingError; a broker that refuses ends it, and what the brokers
    before it did stays done.
    """

    def __init__(self, remoting: Remoting, masters: Masters) -> None:
        self._remoting = remoting
        self._masters = masters

    async def walk(self, topic: str, *, begin_ms: int | None = None, end_ms: int | None = None) -> AsyncIterator[BrokerTimer]:
        """Timers that come within [begin, end), broker by broker, each in the order of its time; memory for one page."""
        for name, address in await self._masters(topic):
            place: str | None = None
            while True:
                header = ListTimersRequestHeader(topic=topic, begin_ms=begin_ms, end_ms=end_ms, max_num=PAGE_MAX, place=place)
                page = await self._ask_page(address, header)
                for timer in page.timers:
                    yield BrokerTimer(name, timer)
                if page.place is None:
                    break
                place = page.place

    async def find(
        self,
        topic: str,
        *,
        key: str | None = None,
        unique_key: str | None = None,
        begin_ms: int | None = None,
        end_ms: int | None = None,
        count_max: int = 1000,
    ) -> list[BrokerTimer]:
        """Timers with a message key, or with a unique id, in the order of their time."""
        found: list[BrokerTimer] = []
        for name, address in await self._masters(topic):
            header = ListTimersRequestHeader(
                topic=topic, key=key, unique_key=unique_key, begin_ms=begin_ms, end_ms=end_ms, max_num=count_max
            )
            found += [BrokerTimer(name, timer) for timer in (await self._ask_page(address, header)).timers]
        return sorted(found, key=lambda each: each.timer.deliver_ms)

    async def cancel(
        self, topic: str, *, key: str | None = None, unique_key: str | None = None, count_max: int | None = None
    ) -> list[BrokerChange]:
        """No timer with this key is delivered, but for those whose time is now ("due"). Raises: ClientError when none waits.

        A broker on which more than `count_max` (64) wait refuses and does nothing.
        """
        header = CancelTimersRequestHeader(topic=topic, key=key, unique_key=unique_key, max_num=count_max)
        return await self._change(topic, header)

    async def reschedule(
        self,
        topic: str,
        deliver_ms: int,
        *,
        key: str | None = None,
        unique_key: str | None = None,
        count_max: int | None = None,
    ) -> list[BrokerChange]:
        """Timers with this key come at another time, with their body and properties; a time of the past is now.

        Raises: as cancel(). Repeat it when the outcome is unknown: a broker that was killed meanwhile may have both.
        """
        header = RescheduleTimersRequestHeader(
            topic=topic, deliver_ms=deliver_ms, key=key, unique_key=unique_key, max_num=count_max
        )
        return await self._change(topic, header)

    async def create_recurring(
        self,
        name: str,
        message: Message,
        cron: str,
        *,
        time_zone: str = "UTC",
        missed: str = "once",
        broker_name: str | None = None,
        queue_id: int = -1,
    ) -> BrokerRecurring:
        """Sends `message` each time that a cron expression says, from one broker: the first of its topic, or the one named.

        `cron` has five fields, or six with seconds before them. `missed`: what comes of times at which the broker was down, one
        message for all of them ("once") or none ("skip"). Raises: ClientError when the name is taken.
        """
        masters = await self._masters(message.topic)
        if any(each.timer.name == name for each in await self.list_recurring(message.topic)):
            raise ClientError(f"there is a recurring timer {name} already")
        for master, address in masters:
            if broker_name in (None, master):
                header = CreateRecurringTimerRequestHeader(
                    name=name,
                    topic=message.topic,
                    cron=cron,
                    time_zone=time_zone,
                    missed=missed,
                    queue_id=queue_id,
                    properties=encode_properties(message.properties).decode(),
                )
                answer = await ask(self._remoting, address, RemotingCommand.request(header, message.body), TIMEOUT_MS)
                return BrokerRecurring(master, json_dialect.decode_as(answer.body, RecurringTimer))
        raise ClientError(f"no broker {broker_name or ''} has topic {message.topic}")

    async def list_recurring(self, topic: str) -> list[BrokerRecurring]:
        """The recurring timers of a topic."""
        found: list[BrokerRecurring] = []
        for name, address in await self._masters(topic):
            request = RemotingCommand.request(ListRecurringTimersRequestHeader(topic=topic))
            answer = await ask(self._remoting, address, request, TIMEOUT_MS)
            told = json_dialect.decode_as(answer.body, RecurringTimers)
            found += [BrokerRecurring(name, timer) for timer in told.timers]
        return found

    async def delete_recurring(self, topic: str, name: str) -> None:
        """Nothing more comes of it. Raises: ClientError when the topic has none of that name."""
        found = False
        having = {each.broker_name for each in await self.list_recurring(topic) if each.timer.name == name}
        for broker_name, address in await self._masters(topic):
            if broker_name not in having:
                continue
            try:
                await ask(
                    self._remoting, address, RemotingCommand.request(DeleteRecurringTimerRequestHeader(name=name)), TIMEOUT_MS
                )
                found = True
            except BrokerError as error:
                if error.response_code != ResponseCode.QUERY_NOT_FOUND:
                    raise
        if not found:
            raise ClientError(f"topic {topic} has no recurring timer {name}")

    async def _change(self, topic: str, header: RequestHeader) -> list[BrokerChange]:
        changes: list[BrokerChange] = []
        nothing: BrokerError | None = None
        for name, address in await self._masters(topic):
            try:
                answer = await ask(self._remoting, address, RemotingCommand.request(header), TIMEOUT_MS)
            except BrokerError as error:
                if error.response_code != ResponseCode.QUERY_NOT_FOUND:
                    raise
                nothing = error
                continue
            told = json_dialect.decode_as(answer.body, TimerChanges)
            changes += [BrokerChange(name, change) for change in told.changes]
        if not changes:
            raise ClientError(nothing.remark if nothing is not None else f"no broker has topic {topic}")
        return changes

    async def _ask_page(self, address: str, header: ListTimersRequestHeader) -> TimersPage:
        answer = await ask(self._remoting, address, RemotingCommand.request(header), TIMEOUT_MS)
        return json_dialect.decode_as(answer.body, TimersPage)
