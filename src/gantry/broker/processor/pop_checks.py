"""What every request of the POP family is asked first, in the official order."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, ProtocolError
from gantry.model import SubscriptionGroupConfig, TopicConfig, names, perm_name
from gantry.model.heartbeat import SUB_ALL, is_tag_type
from gantry.protocol.filter import build_subscription
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.notification import NotificationRequestHeader
from gantry.protocol.remoting.header.pop_message import PopMessageRequestHeader
from gantry.runtime.remoting_server import RequestContext

from ..consumer_filter import PullFilter, compile_expression, sql_filter, tag_filter
from ..long_polling.pop_hold import ALL_QUEUES, HeldPop
from .remarks import kept_otherwise, suggest

if TYPE_CHECKING:
    from ..context import BrokerContext

log = logging.getLogger(__name__)

OUT_OF_TIME_MS = 500
"""How much later than its own end a pop may come in. Source: PopMessageRequestHeader.isTimeoutTooMuch (5.3)."""


def check_readable(broker: BrokerContext, what: str) -> None:
    """Raises: BrokerError."""
    config = broker.config
    if not perm_name.is_readable(config.broker_permission):
        raise BrokerError(ResponseCode.NO_PERMISSION, f"the broker[{config.broker_ip1}] {what} message is forbidden")


def find_topic(broker: BrokerContext, name: str) -> TopicConfig:
    """Raises: BrokerError."""
    topic = broker.topics.select(name)
    if topic is None:
        raise BrokerError(ResponseCode.TOPIC_NOT_EXIST, f"topic[{name}] not exist, apply first please! {suggest()}")
    return topic


def check_topic_and_group(
    broker: BrokerContext, ctx: RequestContext, topic_name: str, group_name: str, queue_id: int
) -> tuple[TopicConfig, SubscriptionGroupConfig]:
    """Topic readable, queue there, group there and allowed to consume. Raises: BrokerError."""
    topic = find_topic(broker, topic_name)
    if topic.other_keeping is not None:
        raise BrokerError(ResponseCode.NO_PERMISSION, kept_otherwise(topic))
    if not perm_name.is_readable(topic.perm):
        raise BrokerError(ResponseCode.NO_PERMISSION, f"the topic[{topic_name}] peeking message is forbidden")
    if queue_id >= topic.read_queue_nums:
        raise BrokerError(ResponseCode.INVALID_PARAMETER, illegal_queue(ctx, topic, queue_id))
    group = broker.subscriptions.find(group_name)
    if group is None:
        raise BrokerError(
            ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, f"subscription group [{group_name}] does not exist, {suggest()}"
        )
    if not group.consume_enable:
        raise BrokerError(ResponseCode.NO_PERMISSION, f"subscription group no permission, {group_name}")
    return topic, group


def check_queue(ctx: RequestContext, topic: TopicConfig, queue_id: int) -> None:
    """For requests about one message. Raises: BrokerError."""
    if not 0 <= queue_id < topic.read_queue_nums:
        raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, illegal_queue(ctx, topic, queue_id))


def illegal_queue(ctx: RequestContext, topic: TopicConfig, queue_id: int) -> str:
    return (
        f"queueId[{queue_id}] is illegal, topic:[{topic.topic_name}] topicConfig.readQueueNums:[{topic.read_queue_nums}] "
        f"consumer:[/{ctx.channel.remote_address}]"
    )


def subscription_filter(
    broker: BrokerContext, topic: str, group: str, expression: str | None, expression_type: str | None
) -> PullFilter:
    """The filter that a pop asks for, of its retry topics too: a message that comes again has the properties it had.

    `enablePropertyFilter` is about pulls; the original does not ask for it here. Raises: BrokerError.
    """
    try:
        subscription = build_subscription(topic, expression, expression_type)
        retry = build_subscription(pop_retry_topic(broker, topic, group), SUB_ALL, expression_type)
        if is_tag_type(subscription.expression_type):
            found = PullFilter(tag_filter(subscription))
        else:
            found = sql_filter(compile_expression(subscription.sub_string, subscription.expression_type))
    except ProtocolError as error:
        log.warning("Parse the consumer's subscription error, group: %s: %s", group, error)
        raise BrokerError(ResponseCode.SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed") from None
    broker.consumers.compensate_subscription(group, topic, subscription)
    broker.consumers.compensate_subscription(group, retry.topic, retry)
    return found


def pop_retry_topic(broker: BrokerContext, topic: str, group: str) -> str:
    """The retry topic that messages of `topic` are given back to."""
    build = names.pop_retry_topic_v2 if broker.config.enable_retry_topic_v2 else names.pop_retry_topic_v1
    return build(topic, group)


def retry_topics(broker: BrokerContext, topic: str, group: str) -> list[str]:
    """Every retry topic a pop may look into; the one in use first."""
    topics = [pop_retry_topic(broker, topic, group)]
    if broker.config.enable_retry_topic_v2 and broker.config.retrieve_message_from_pop_retry_topic_v1:
        topics.append(names.pop_retry_topic_v1(topic, group))
    return topics


def watched_queues(
    broker: BrokerContext, topic: TopicConfig, group: str, queue_id: int, *, retry: bool
) -> list[tuple[str, int, int]]:
    """The queues whose arrivals concern a request that waits; a retry topic need not be there yet."""
    watched = [(topic.topic_name, max(queue_id, ALL_QUEUES), topic.read_queue_nums)]
    if retry:
        for name in retry_topics(broker, topic.topic_name, group):
            config = broker.topics.select(name)
            watched.append((name, ALL_QUEUES, config.read_queue_nums if config is not None else 1))
    return watched


def waiting_request(
    broker: BrokerContext,
    ctx: RequestContext,
    request: RemotingCommand,
    header: PopMessageRequestHeader | NotificationRequestHeader,
    topic: TopicConfig,
    matches: PullFilter,
    deadline_ms: int,
) -> HeldPop:
    """The request as it waits, with a hundred thousand others perhaps: what it still needs is in the header.

    Units: deadline_ms on the monotonic clock.
    """
    request.ext_fields, request.body = None, b""
    return HeldPop(
        context=ctx,
        request=request,
        header=header,
        channel_id=ctx.channel.id,
        key=(header.topic, header.consumer_group, header.queue_id),
        watched=watched_queues(broker, topic, header.consumer_group, header.queue_id, retry=not header.order),
        matches=matches.tags,
        record_filter=matches.record,
        deadline_ms=deadline_ms,
        filter_chars=len(header.exp or ""),
    )


def wait_ms(broker: BrokerContext, born_time: int, poll_time: int) -> int:
    """How long a request that found nothing may still wait; not above zero: not at all."""
    left = (born_time or broker.clock.now_ms()) + poll_time - broker.clock.now_ms()
    return min(left, poll_time, broker.config.suspend_timeout_millis_max)
