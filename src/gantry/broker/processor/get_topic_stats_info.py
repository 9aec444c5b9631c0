"""GET_TOPIC_STATS_INFO (202): where every queue of a topic begins and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.model.message import MessageQueue
from gantry.protocol.remoting.body.consumer import TopicOffset, TopicStatsTable
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_topic_stats_info import GetTopicStatsInfoRequestHeader

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetTopicStatsInfoProcessor:
    """Source: AdminBrokerProcessor.getTopicStatsInfo (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetTopicStatsInfoRequestHeader
    ) -> RemotingCommand:
        broker, name = self._broker, header.topic
        topic = broker.topics.select(name)
        if topic is None:
            raise BrokerError(ResponseCode.TOPIC_NOT_EXIST, f"topic[{name}] not exist")
        table: dict[MessageQueue, TopicOffset] = {}
        for queue_id in range(max(topic.write_queue_nums, topic.read_queue_nums)):
            end = max(broker.store.max_offset(name, queue_id), 0)
            last = await broker.store.store_time_at(name, queue_id, end - 1) if end > 0 else 0
            table[MessageQueue(name, broker.config.broker_name, queue_id)] = TopicOffset(
                min_offset=max(await broker.store.first_offset(name, queue_id), 0),
                max_offset=end,
                last_update_timestamp=last,
            )
        return json_reply(request, TopicStatsTable(table, topic_put_tps=broker.stats.topic_put_tps(name)))
