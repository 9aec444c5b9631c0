"""CONSUMER_SEND_MSG_BACK: a consumer could not deal with a message and wants it again later."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, StoreError
from gantry.model import MessageExt, SubscriptionGroupConfig, message_const, names, perm_name, sys_flag
from gantry.protocol.message.record import decode_record, store_again
from gantry.protocol.remoting.codes import V3_4_9, ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.consumer_send_msg_back import ConsumerSendMsgBackRequestHeader
from gantry.runtime.remoting_server import RequestContext
from gantry.store import PutStatus

from ..schedule.delay_level import to_schedule_topic
from ..topic.topic_config_manager import retry_topic_config
from . import put_answer
from .remarks import group_not_exist
from .send_message import DLQ_NUMS_PER_GROUP, dlq_topic, encoded, put

if TYPE_CHECKING:
    from ..context import BrokerContext

log = logging.getLogger(__name__)

FIRST_RETRY_LEVEL = 3
"""Delay level of a first retry; each further one waits a level longer."""


class ConsumerSendMsgBackProcessor:
    """Stores the message again: delayed for the group's retry topic, or in its dead letter topic.

    The message itself stays where it is; the consumer commits past it after the answer. A crash between the two gives a
    duplicate, never a loss. Source: AbstractSendMessageProcessor.consumerSendMsgBack (5.3).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: ConsumerSendMsgBackRequestHeader
    ) -> RemotingCommand:
        broker, config = self._broker, self._broker.config
        group = broker.subscriptions.find(header.group)
        if group is None:
            raise BrokerError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, group_not_exist(header.group))
        if not perm_name.is_writeable(config.broker_permission):
            raise BrokerError(ResponseCode.NO_PERMISSION, f"the broker[{config.broker_ip1}] sending message is forbidden")
        if group.retry_queue_nums <= 0:
            return request.reply()
        retry_topic = names.retry_topic(header.group)
        await self._retry_topic(retry_topic, group, bool(header.unit_mode))
        message = await self._message(header.offset)
        properties = message.properties
        properties.setdefault(message_const.RETRY_TOPIC, message.topic)
        origin_topic = properties[message_const.RETRY_TOPIC]
        tries_max = group.retry_max_times
        if request.version >= V3_4_9 and header.max_reconsume_times is not None:
            tries_max = header.max_reconsume_times
        dead = message.reconsume_times >= tries_max or header.delay_level < 0
        if dead:
            topic = (await dlq_topic(broker, header.group)).topic_name
            queue_id = broker.rng.randrange(DLQ_NUMS_PER_GROUP)
            # Official dead letters carry DELAY=0; a positive one would delay them.
            properties[message_const.DELAY_TIME_LEVEL] = "0"
        else:
            topic, queue_id = retry_topic, broker.rng.randrange(group.retry_queue_nums)
            level = header.delay_level or FIRST_RETRY_LEVEL + message.reconsume_times
            properties[message_const.DELAY_TIME_LEVEL] = str(level)
        properties.setdefault(message_const.ORIGIN_MESSAGE_ID, message.offset_msg_id)
        properties[message_const.WAIT_STORE_MSG_OK] = "false"
        if not dead:
            topic, queue_id = to_schedule_topic(properties, topic, queue_id, level, broker.schedule.max_delay_level)
        # The consumer commits past the original once this is answered, so under SYNC_FLUSH the copy must be on the disk by
        # then; the original's WAIT=false, kept in the property, would let a power cut take it.
        again = store_again(message, topic=topic, queue_id=queue_id, properties=encoded(properties), wait_store_ok=True)
        again = again._replace(store_host=broker.store_host, reconsume_times=message.reconsume_times + 1)
        result = await put(broker, [again])
        # Of the weak ones only this says that the copy may not outlive a power cut, and then nobody would have the message.
        if result.status not in put_answer.STORED_CODES or result.status is PutStatus.FLUSH_DISK_TIMEOUT:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, result.status.value)
        broker.stats.send_back(header.group, origin_topic)
        if dead:
            broker.stats.dlq(header.group, origin_topic)
            broker.metrics.dead_letter(header.group, origin_topic)
            log.info(
                "send msg to DLQ %s, originalTopic=%s, consumerId=%s, msgUniqKey=%s",
                topic, header.origin_topic, header.group, properties.get(message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX),
            )  # fmt: skip
        return request.reply()

    async def _retry_topic(self, name: str, group: SubscriptionGroupConfig, unit_mode: bool) -> None:
        topics = self._broker.topics
        try:
            topic = topics.select(name) or await topics.create_if_absent(
                retry_topic_config(
                    name, group.retry_queue_nums, perm_name.PERM_READ_WRITE, sys_flag.TOPIC_UNIT_SUB if unit_mode else 0
                )
            )
        except StoreError as error:
            raise BrokerError(
                ResponseCode.SYSTEM_ERROR, f"topic[{name}] not exist and cannot be created now: {error}"
            ) from error
        if not perm_name.is_writeable(topic.perm):
            raise BrokerError(ResponseCode.NO_PERMISSION, f"the topic[{name}] sending message is forbidden")

    async def _message(self, physical_offset: int) -> MessageExt:
        record = await self._broker.store.message_at(physical_offset) if physical_offset >= 0 else None
        if record is None:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"look message by offset failed, {physical_offset}")
        return decode_record(record)
