"""GET_BROKER_CONSUME_STATS (317): how far every group of this broker is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.model.message import MessageQueue
from gantry.protocol.remoting.body.broker_consume_stats import ConsumeStatsList
from gantry.protocol.remoting.body.consumer import ConsumeStats
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_broker_consume_stats import GetBrokerConsumeStatsRequestHeader

from .get_consume_stats import listens_to, offset_wrapper
from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetBrokerConsumeStatsProcessor:
    """Source: AdminBrokerProcessor.fetchAllConsumeStatsInBroker (5.5). There pullOffset stays 0, and so it does here."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetBrokerConsumeStatsRequestHeader
    ) -> RemotingCommand:
        broker = self._broker
        answer = ConsumeStatsList(broker_addr=broker.address)
        for group in list(broker.subscriptions.table):
            listed: list[ConsumeStats] = []
            for name in sorted(broker.offsets.topics_of(group)):
                topic = broker.topics.select(name)
                if topic is None or (header.is_order and not topic.order) or not listens_to(broker, group, name):
                    continue
                stats = ConsumeStats(consume_tps=broker.stats.group_get_tps(group, name))
                for queue_id in range(topic.write_queue_nums):
                    wrapper = await offset_wrapper(broker, group, name, queue_id, with_pull_offset=False)
                    stats.offset_table[MessageQueue(name, broker.config.broker_name, queue_id)] = wrapper
                    answer.total_diff += wrapper.broker_offset - wrapper.consumer_offset
                    answer.total_inflight_diff += wrapper.pull_offset - wrapper.consumer_offset
                listed.append(stats)
            answer.consume_stats_list.append({group: listed})
        return json_reply(request, answer)
