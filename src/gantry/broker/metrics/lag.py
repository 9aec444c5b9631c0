"""How far consumer groups are behind: looked up when somebody asks, some queues at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from gantry.model import TopicConfig, names, perm_name

from ..processor.pop_checks import retry_topics

if TYPE_CHECKING:
    from ..context import BrokerContext

CONSUME_POP = "CONSUME_POP"
TIMES_MAX = 20_000
"""Queues whose first waiting message is looked at for its age: it may have to be read from the disk."""

_NEVER = 1 << 62


class Lag(NamedTuple):
    """One group in one topic, or in the topic that its popped messages are given back to.

    Units: messages; `unconsumed_ms` and `unpulled_ms` in ms since 1970, 0 for none.
    """

    group: str
    topic: str
    is_retry: bool
    lag: int
    unconsumed_ms: int
    inflight: int
    unpulled_ms: int
    ready: int


class _Place(NamedTuple):
    """A group in a queue: first offset not acknowledged, first not handed out, how many are between, end of the queue."""

    consumed: int
    pulled: int
    inflight: int
    end: int
    lag: int
    ready: int


async def consumer_lags(broker: BrokerContext, turn: Callable[[], Awaitable[None]]) -> list[Lag]:
    """Of every group that somebody of is connected, in every topic it listens to. `turn` lets others have theirs.

    Source: ConsumerLagCalculator (5.5). A filter is not looked through here: what it leaves out counts as waiting until the
    group has passed it.
    """
    found: list[Lag] = []
    looker = _Looker(broker, turn)
    for group, name, pops in _listening(broker):
        topic = _shown_topic(broker, name)
        if topic is None:
            continue
        found.append(await looker.look(group, name, topic, pops=pops, is_retry=False))
        if pops:
            retry = next(filter(None, (_shown_topic(broker, each) for each in retry_topics(broker, name, group))), None)
            found.append(await looker.look(group, name, retry, pops=True, is_retry=True))
    return found


def _listening(broker: BrokerContext) -> Iterator[tuple[str, str, bool]]:
    """Group, topic, and whether the group pops. The tables may change between two of them."""
    heard: dict[str, list[str]] = {}
    for group, topic in broker.consumers.compensated():
        heard.setdefault(group, []).append(topic)
    for group in list(broker.subscriptions.table):
        info = broker.consumers.group_info(group)
        topics = heard.get(group, []) if info is None else list(info.subscriptions)
        for topic in topics:
            if not names.is_retry_topic(topic):
                yield group, topic, info is not None and info.consume_type == CONSUME_POP


def _shown_topic(broker: BrokerContext, name: str) -> TopicConfig | None:
    topic = broker.topics.select(name)
    if topic is None:
        return None
    perm = topic.perm & broker.config.broker_permission
    return topic if perm_name.is_readable(perm) or perm_name.is_writeable(perm) else None


class _Looker:
    def __init__(self, broker: BrokerContext, turn: Callable[[], Awaitable[None]]) -> None:
        self._broker = broker
        self._turn = turn
        self._times_left = TIMES_MAX

    async def look(self, group: str, name: str, topic: TopicConfig | None, *, pops: bool, is_retry: bool) -> Lag:
        lag = inflight = ready = 0
        unconsumed = unpulled = _NEVER
        if topic is not None:
            for queue_id in range(topic.write_queue_nums):
                await self._turn()
                place = (self._popping if pops else self._pulling)(group, topic.topic_name, queue_id)
                lag += place.lag
                inflight += place.inflight
                ready += place.ready
                if place.lag:
                    first = await self._time(topic.topic_name, queue_id, place.consumed, place.end)
                    unconsumed = min(unconsumed, first)
                    same = place.pulled == place.consumed
                    unpulled = min(
                        unpulled, first if same else await self._time(topic.topic_name, queue_id, place.pulled, place.end)
                    )
        return Lag(group, name, is_retry, lag, unconsumed % _NEVER, inflight, unpulled % _NEVER, ready)

    def _pulling(self, group: str, topic: str, queue_id: int) -> _Place:
        offsets = self._broker.offsets
        end = self._broker.store.max_offset(topic, queue_id)
        committed, pulled = offsets.query(group, topic, queue_id), offsets.query_pull(group, topic, queue_id)
        inflight = max(max(pulled, 0) - (committed if committed >= 0 else max(pulled, 0)), 0)
        consumed = committed if committed >= 0 else end
        return _Place(
            consumed, max(pulled, 0), inflight, end, max(end - consumed, 0), max(end - (pulled if pulled >= 0 else end), 0)
        )

    def _popping(self, group: str, topic: str, queue_id: int) -> _Place:
        account = self._broker.pop.account
        end = self._broker.store.max_offset(topic, queue_id)
        following = account.next_offset(topic, group, queue_id)
        pulled = following if following >= 0 else end
        out = account.out_of_queue(topic, group, queue_id)
        ready = max(end - pulled, 0)
        return _Place(max(pulled - out, 0), pulled, out, end, ready + out, ready)

    async def _time(self, topic: str, queue_id: int, offset: int, end: int) -> int:
        if offset >= end or not self._times_left:
            return _NEVER
        self._times_left -= 1
        time_ms = await self._broker.store.store_time_at(topic, queue_id, offset)
        return time_ms if time_ms > 0 else _NEVER
