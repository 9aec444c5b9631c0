"""PEEK_MESSAGE (200052): the messages a pop would take, left where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.model import TopicConfig
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.peek_message import PeekMessageRequestHeader
from gantry.protocol.remoting.header.pop_message import INIT_MIN, PopMessageResponseHeader
from gantry.runtime.remoting_server import RequestContext
from gantry.store import GetResult, GetStatus

from ..pop.take import BODY_BYTES_MAX
from .pop_checks import check_readable, check_topic_and_group, pop_retry_topic
from .pop_message import COUNT_MAX

if TYPE_CHECKING:
    from ..context import BrokerContext

RETRY_FIRST_OF = 5
"""One of so many peeks looks into the retry topic first. Source: PeekMessageProcessor (5.3)."""


class _Peek:
    def __init__(self, count_max: int) -> None:
        self.count_max = count_max
        self.records: list[bytes | memoryview] = []
        self.size = 0
        self.rest = 0


class PeekMessageProcessor:
    """No handle comes with the messages, and no more than a pop would take. Source: PeekMessageProcessor (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: PeekMessageRequestHeader
    ) -> RemotingCommand:
        broker = self._broker
        check_readable(broker, "peeking")
        topic, _ = check_topic_and_group(broker, ctx, header.topic, header.consumer_group, header.queue_id)
        peek = _Peek(min(max(header.max_msg_nums, 1), COUNT_MAX))
        start = broker.rng.randrange(100)
        retry = broker.topics.select(pop_retry_topic(broker, header.topic, header.consumer_group))
        retry_first = start % RETRY_FIRST_OF == 0
        if retry_first:
            await self._topic(peek, retry, header.consumer_group, start)
        if header.queue_id < 0:
            await self._topic(peek, topic, header.consumer_group, start)
        else:
            await self._queue(peek, header.topic, header.consumer_group, header.queue_id)
        if not retry_first and len(peek.records) < peek.count_max:
            await self._topic(peek, retry, header.consumer_group, start)
        found = bool(peek.records)
        if found:
            broker.stats.group_get(header.consumer_group, header.topic, header.queue_id, len(peek.records), peek.size)
            broker.metrics.pulled(header.consumer_group, header.topic, header.queue_id, len(peek.records), peek.size)
        return request.reply(
            ResponseCode.SUCCESS if found else ResponseCode.PULL_NOT_FOUND,
            "FOUND" if found else "NO_MESSAGE_IN_QUEUE",
            PopMessageResponseHeader(rest_num=peek.rest),
            b"".join(peek.records),
        )

    async def _topic(self, peek: _Peek, topic: TopicConfig | None, group: str, start: int) -> None:
        if topic is not None:
            for each in range(topic.read_queue_nums):
                await self._queue(peek, topic.topic_name, group, (start + each) % topic.read_queue_nums)

    async def _queue(self, peek: _Peek, topic: str, group: str, queue_id: int) -> None:
        store = self._broker.store
        offset = self._broker.pop.taker.begin_offset(topic, group, queue_id, INIT_MIN)
        peek.rest += max(store.max_offset(topic, queue_id) - offset, 0)
        if len(peek.records) >= peek.count_max or peek.size >= BODY_BYTES_MAX:
            return
        result = await self._get(peek, topic, queue_id, offset)
        if result.status in (GetStatus.OFFSET_TOO_SMALL, GetStatus.OFFSET_OVERFLOW_BADLY):
            result = await self._get(peek, topic, queue_id, result.next_begin_offset)
        peek.records += result.views
        peek.size += sum(map(len, result.views))

    async def _get(self, peek: _Peek, topic: str, queue_id: int, offset: int) -> GetResult:
        result = self._broker.store.get(topic, queue_id, offset, peek.count_max - len(peek.records), BODY_BYTES_MAX - peek.size)
        return result if isinstance(result, GetResult) else await result
