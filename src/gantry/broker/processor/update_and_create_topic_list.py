"""UPDATE_AND_CREATE_TOPIC_LIST (18): makes or changes many topics; all or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.topic_config import TopicConfigListBody
from gantry.protocol.remoting.command import RemotingCommand

from .update_and_create_topic import update_topics

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class UpdateAndCreateTopicListProcessor:
    """Attributes in the body carry their signs, as in the single form.

    Source: AdminBrokerProcessor.updateAndCreateTopicList (5.5), which stops at the first topic that is there already
    and forgets the others; here only that one is left out.
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        body = json_dialect.decode_request(request.body, TopicConfigListBody)
        await update_topics(self._broker, [(topic, dict(topic.attributes)) for topic in body.topic_config_list])
        return request.reply()
