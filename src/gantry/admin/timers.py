"""What waits for a topic: listing, cancelling and re-scheduling it by message key. For our brokers; official ones cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from gantry.client.remoting import Remoting, ask
from gantry.errors import BrokerError, ClientError
from gantry.protocol import json_dialect
from gantry.protocol.remoting import RemotingCommand, ResponseCode
from gantry.protocol.remoting.body.timers import PendingTimer, TimerChange, TimerChanges, TimersPage
from gantry.protocol.remoting.header.base import RequestHeader
from gantry.protocol.remoting.header.cancel_timers import CancelTimersRequestHeader
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
