"""UPDATE_CONSUMER_OFFSET: a group says how far it is in a queue."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.update_consumer_offset import UpdateConsumerOffsetRequestHeader
from gantry.runtime.remoting_server import RequestContext

if TYPE_CHECKING:
    from ..context import BrokerContext

log = logging.getLogger(__name__)


class UpdateConsumerOffsetProcessor:
    """Takes any offset from 0 to the queue's end; a higher one is brought down to the end, a negative one refused, and so is
    one of a queue that never was.

    Source: ConsumerManageProcessor.updateConsumerOffset (5.3), which takes every number; the bounds are our decision.
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: UpdateConsumerOffsetRequestHeader
    ) -> RemotingCommand:
        broker, group, topic, queue_id = self._broker, header.consumer_group, header.topic, header.queue_id
        if not broker.subscriptions.contains(group):
            raise BrokerError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, f"Group {group} not exist!")
        config = broker.topics.select(topic)
        if config is None:
            raise BrokerError(ResponseCode.TOPIC_NOT_EXIST, f"Topic {topic} not exist!")
        if queue_id < 0 or header.commit_offset < 0:
            raise BrokerError(
                ResponseCode.INVALID_PARAMETER,
                f"queueId[{queue_id}] and offset[{header.commit_offset}] of topic {topic} must not be negative",
            )
        if broker.config.use_server_side_reset_offset and broker.offsets.has_reset(group, topic, queue_id):
            log.info("Update consumer offset is rejected because of previous offset-reset. Group=%s, Topic=%s, QueueId=%d",
                     group, topic, queue_id)  # fmt: skip
            return request.reply(remark="Offset has been previously reset")
        offset = header.commit_offset
        end = broker.store.max_offset(topic, queue_id)
        queue_nums = max(config.read_queue_nums, config.write_queue_nums)
        if queue_id >= queue_nums and not end:
            # A queue with messages that the topic no longer has is still somebody's; one that never was is a mistake, and
            # each such row would stay in the table for ever.
            raise BrokerError(
                ResponseCode.INVALID_PARAMETER, f"queueId[{queue_id}] is illegal, topic {topic} has {queue_nums} queues"
            )
        if offset > end:
            log.warning(
                "group %s commits offset %d of %s queue %d, above its end %d: brought down", group, offset, topic, queue_id, end
            )
            offset = end
        broker.offsets.commit(group, topic, queue_id, offset, ctx.channel.remote_address)
        return request.reply()
