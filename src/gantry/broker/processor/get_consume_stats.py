"""GET_CONSUME_STATS (208): how far a group is, queue by queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.model.message import MessageQueue
from gantry.protocol.remoting.body.consumer import ConsumeStats, OffsetWrapper
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_consume_stats import GetConsumeStatsRequestHeader

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetConsumeStatsProcessor:
    """The topics named, or all the group has offsets in; topics a connected group no longer listens to are left out,
    unless a list names them. Source: AdminBrokerProcessor.getConsumeStats (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetConsumeStatsRequestHeader
    ) -> RemotingCommand:
        broker, group = self._broker, header.consumer_group
        stats = ConsumeStats()
        for name in self._topics(header):
            topic = broker.topics.select(name)
            if topic is None:
                continue
            for queue_id in range(topic.read_queue_nums):
                queue = MessageQueue(name, broker.config.broker_name, queue_id)
                stats.offset_table[queue] = await offset_wrapper(broker, group, name, queue_id, with_pull_offset=True)
            stats.consume_tps += broker.stats.group_get_tps(group, name)
        return json_reply(request, stats)

    def _topics(self, header: GetConsumeStatsRequestHeader) -> list[str]:
        listed = [name for name in (header.topic_list or "").split(";") if name.strip()]
        if listed:
            return list(dict.fromkeys(listed))
        broker, group = self._broker, header.consumer_group
        if header.topic and header.topic.strip():
            topics = {header.topic}
        else:
            topics = broker.offsets.topics_of(group)
        return sorted(name for name in topics if listens_to(broker, group, name))


def listens_to(broker: BrokerContext, group: str, topic: str) -> bool:
    """Whether the group listens to the topic, as far as its heartbeats say; a group without any may listen to all."""
    if broker.consumers.find_subscription(group, topic) is not None:
        return True
    return broker.consumers.subscription_count(group) == 0


async def offset_wrapper(
    broker: BrokerContext, group: str, topic: str, queue_id: int, *, with_pull_offset: bool
) -> OffsetWrapper:
    """Where the queue ends, where the group is, and when the last message it consumed was stored."""
    consumed = max(broker.offsets.query(group, topic, queue_id), 0)
    wrapper = OffsetWrapper(broker_offset=max(broker.store.max_offset(topic, queue_id), 0), consumer_offset=consumed)
    if with_pull_offset:
        wrapper.pull_offset = max(consumed, broker.offsets.query_pull(group, topic, queue_id))
    if consumed > 0:
        wrapper.last_timestamp = max(await broker.store.store_time_at(topic, queue_id, consumed - 1), 0)
    return wrapper
