"""Times from requests to answers, for rocketmq_rpc_latency and the two metrics of creations. Only with an exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.codes import RequestCode, ResponseCode

from .counters import Histogram, MetricsCounters, RpcKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from gantry.runtime.clock import Clock
    from gantry.runtime.request_table import RequestContext

    from ..hot._plan_py import HotPlan
    from ..long_polling import HeldPull

SUCCESS, ONEWAY, CANCELLED = "success", "oneway", "cancelled"

_TOPICS = frozenset({RequestCode.UPDATE_AND_CREATE_TOPIC, RequestCode.UPDATE_AND_CREATE_TOPIC_LIST})
_GROUPS = frozenset({RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST})
_OK = int(ResponseCode.SUCCESS)
_PULL = int(RequestCode.PULL_MESSAGE)

HOT_CODES = (
    int(RequestCode.SEND_MESSAGE),
    int(RequestCode.SEND_MESSAGE_V2),
    int(RequestCode.SEND_BATCH_MESSAGE),
    int(RequestCode.END_TRANSACTION),
)
"""Requests that go into a plan of the hot path, in the order in which it counts them."""


class RpcTimes:
    """Units: whole ms, as in the original: what takes less counts as 0."""

    def __init__(self, counters: MetricsCounters, clock: Clock, is_system_topic: Callable[[str], bool]) -> None:
        self._counters = counters
        self._clock = clock
        self._is_system_topic = is_system_topic
        self._pulls_told = 0
        self._of_sends: dict[int, list[Histogram]] = {}
        """By code of the answer: of each of HOT_CODES those that are answered, then those that want no answer."""
        self.held_pulls = 0
        """Answers to pulls that waited, which the hot path made."""

    def request(self, ctx: RequestContext, response_code: int) -> None:
        """A request of the tables is answered; a one-way request would be."""
        request = ctx.request
        elapsed_ms = self._clock.monotonic_ms() - ctx.received_ms
        result = ONEWAY if request.is_oneway else CANCELLED if ctx.channel.closed else SUCCESS
        self._counters.answered(RpcKey(request.code, response_code, ctx.suspended, result), elapsed_ms)
        if request.code in _TOPICS:
            topic = (request.ext_fields or {}).get("topic", "")
            self._counters.topic_created(elapsed_ms, ok=response_code == _OK, system=self._is_system_topic(topic))
        elif request.code in _GROUPS:
            self._counters.group_created(elapsed_ms, ok=response_code == _OK)

    def sends(self, plan: HotPlan, waiting: bool | None, response_code: int) -> None:
        """The sends of a plan are answered: all of them (None), or those that waited for the disk, or the others."""
        elapsed_ms = (self._clock.monotonic_ns() - plan.began_ns) // 1_000_000
        answered, oneway = plan.code_counts(waiting)
        histograms = self._of_sends.get(response_code)
        if histograms is None:
            histograms = self._of_sends[response_code] = [
                self._counters.histogram(RpcKey(code, response_code, False, result))
                for result in (SUCCESS, ONEWAY)
                for code in HOT_CODES
            ]
        for place, count in enumerate(answered + oneway):
            if count:
                histograms[place].record(elapsed_ms, count)

    def counting_held(self, short_way: Callable[[HeldPull], bytes | None]) -> Callable[[HeldPull], bytes | None]:
        """The same, and counted: request() is told of those answers, so pulls() must not be."""

        def answer(held: HeldPull) -> bytes | None:
            frame = short_way(held)
            self.held_pulls += frame is not None
            return frame

        return answer

    def pulls(self, pulls_answered: int) -> None:
        """The engine has answered so many pulls by now, those that waited included: the others were answered in the same call
        that read them, so in less than a millisecond."""
        new = pulls_answered - self.held_pulls - self._pulls_told
        if new > 0:
            self._pulls_told += new
            self._counters.answered(RpcKey(_PULL, _OK, False, SUCCESS), 0, new)
