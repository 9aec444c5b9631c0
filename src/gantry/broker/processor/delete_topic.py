"""DELETE_TOPIC_IN_BROKER (215): forgets a topic, its queues and all groups' offsets in it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.model.names import RETRY_GROUP_TOPIC_PREFIX
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.delete_topic import DeleteTopicRequestHeader

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)


class DeleteTopicProcessor:
    """The POP retry topics that belong to the topic go with it. A topic that is not there is deleted successfully.

    Source: AdminBrokerProcessor.deleteTopic (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: DeleteTopicRequestHeader
    ) -> RemotingCommand:
        broker, topic = self._broker, header.topic
        log.info("broker receive request to delete topic=%s, caller=%s", topic, ctx.channel.remote_address)
        if not topic.strip():
            raise BrokerError(ResponseCode.INVALID_PARAMETER, "The specified topic is blank.")
        if broker.topics.is_system_topic(topic):
            raise BrokerError(ResponseCode.INVALID_PARAMETER, f"The topic[{topic}] is conflict with system topic.")
        doomed = [topic]
        for group in broker.offsets.groups_of(topic):
            retries = (f"{RETRY_GROUP_TOPIC_PREFIX}{group}+{topic}", f"{RETRY_GROUP_TOPIC_PREFIX}{group}_{topic}")
            doomed += [name for name in retries if broker.topics.contains(name)]
        for name in doomed:
            # The topic goes first: nothing can be sent to it any more while its queues are removed.
            broker.topics.delete(name)
            broker.offsets.remove_topic(name)
            broker.pop.forget_topic(name)
            broker.stats.topic_deleted(name)
            broker.metrics.topic_deleted(name)
            broker.transactions.metrics.forget(name)
        await broker.store.delete_topics(set(doomed))
        await broker.topics.file.flush()
        await broker.offsets.file.flush()
        return request.reply()
