"""GET_ALL_TOPIC_CONFIG (21): every topic of this broker, whole or by pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.body.topic_config import TopicConfigWrapper
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_all_topic_config import (
    GetAllTopicConfigRequestHeader,
    GetAllTopicConfigResponseHeader,
)

from .json_reply import json_reply
from .metadata_page import page

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetAllTopicConfigProcessor:
    """Source: AdminBrokerProcessor.getAllTopicConfig (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetAllTopicConfigRequestHeader
    ) -> RemotingCommand:
        topics = self._broker.topics
        part = page(
            topics.table,
            topics.data_version,
            seq=header.topic_seq,
            data_version=header.data_version,
            count=header.max_topic_num,
        )
        body = TopicConfigWrapper(topic_config_table=part, data_version=topics.data_version)
        return json_reply(request, body, GetAllTopicConfigResponseHeader(total_topic_num=len(topics.table)))
