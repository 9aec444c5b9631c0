"""UPDATE_AND_CREATE_TOPIC (17): makes or changes one topic."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.model import perm_name
from gantry.model.topic_config import MESSAGE_TYPE, MULTI_TAG, SINGLE_TAG, TopicConfig
from gantry.model.topic_validator import validate_topic
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.create_topic import CreateTopicRequestHeader

from ..attributes import MIXED, TOPIC_ATTRIBUTES, alter_attributes, parse_attributes

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)

QUEUE_NUMS_MAX = 65_536
"""Bound on a topic's queues: every question about a topic walks over all of them."""

PERM_MAX = perm_name.PERM_READ | perm_name.PERM_WRITE | perm_name.PERM_INHERIT


class UpdateAndCreateTopicProcessor:
    """Returns after the topic is on disk; asking for what is there already changes nothing.

    Source: AdminBrokerProcessor.updateAndCreateTopic (5.5). The bound on the queues is our decision.
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: CreateTopicRequestHeader
    ) -> RemotingCommand:
        log.info("request to update or create topic=%s, caller address=%s", header.topic, ctx.channel.remote_address)
        if header.topic_filter_type not in (SINGLE_TAG, MULTI_TAG):
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"topicFilterType = [{header.topic_filter_type}] value invalid")
        topic = TopicConfig(
            topic_name=header.topic,
            read_queue_nums=header.read_queue_nums,
            write_queue_nums=header.write_queue_nums,
            perm=header.perm,
            topic_filter_type=header.topic_filter_type,
            topic_sys_flag=header.topic_sys_flag or 0,
            order=header.order,
        )
        await update_topics(self._broker, [(topic, parse_attributes(header.attributes))])
        return request.reply()


async def update_topics(broker: BrokerContext, wanted: list[tuple[TopicConfig, Mapping[str, str]]]) -> None:
    """Makes or changes topics, each given with the changes of its attributes; all or none.

    Returns after they are on disk and the name servers that answer have been told. Raises: BrokerError, StoreError.
    """
    changed: list[TopicConfig] = []
    for topic, attribute_changes in wanted:
        check_topic_name(broker, topic.topic_name)
        _check_shape(topic)
        if not broker.config.enable_mixed_message_type and attribute_changes.get("+" + MESSAGE_TYPE) == MIXED:
            raise BrokerError(ResponseCode.INVALID_PARAMETER, "MIXED message type is not supported.")
        known = broker.topics.select(topic.topic_name)
        topic.attributes = alter_attributes(TOPIC_ATTRIBUTES, None if known is None else known.attributes, attribute_changes)
        if topic.other_keeping is not None and (known is None or known.other_keeping is None):
            raise BrokerError(
                ResponseCode.INVALID_PARAMETER,
                f"The topic[{topic.topic_name}] cannot have {topic.other_keeping}: this broker keeps topics in simple consume "
                "queues and deletes by age.",
            )
        if topic != known:
            changed.append(topic)
    if changed:
        broker.topics.update_all(changed)
        await broker.topics.file.flush()
        # Whoever made the topic asks for its route next.
        await broker.registration.flush()


def check_topic_name(broker: BrokerContext, topic: str) -> None:
    """Raises: BrokerError for a name that is malformed or belongs to the system."""
    remark = validate_topic(topic)
    if remark is not None:
        raise BrokerError(ResponseCode.INVALID_PARAMETER, remark)
    if broker.topics.is_system_topic(topic):
        raise BrokerError(ResponseCode.INVALID_PARAMETER, f"The topic[{topic}] is conflict with system topic.")


def _check_shape(topic: TopicConfig) -> None:
    if not 0 <= topic.perm <= PERM_MAX:
        raise BrokerError(
            ResponseCode.INVALID_PARAMETER,
            f"The topic[{topic.topic_name}] has perm {topic.perm}, allowed are 0 to {PERM_MAX}.",
        )
    for name, nums in (("readQueueNums", topic.read_queue_nums), ("writeQueueNums", topic.write_queue_nums)):
        if not 0 <= nums <= QUEUE_NUMS_MAX:
            raise BrokerError(
                ResponseCode.INVALID_PARAMETER,
                f"The topic[{topic.topic_name}] has {name} {nums}, allowed are 0 to {QUEUE_NUMS_MAX}.",
            )
