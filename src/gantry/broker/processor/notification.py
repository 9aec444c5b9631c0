"""NOTIFICATION (200054): told when a pop would find something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.model import TopicConfig
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.notification import NotificationRequestHeader, NotificationResponseHeader
from gantry.protocol.remoting.header.pop_message import INIT_MIN
from gantry.runtime.remoting_server import RequestContext

from ..consumer_filter import NO_FILTER
from ..long_polling import HeldPop
from .pop_checks import check_readable, check_topic_and_group, retry_topics, subscription_filter, wait_ms, waiting_request

if TYPE_CHECKING:
    from ..context import BrokerContext


class NotificationProcessor:
    """At once when something waits, otherwise when it comes or the time is over. Source: NotificationProcessor (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker
        broker.pop.notifications.resume = self._resume

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: NotificationRequestHeader
    ) -> RemotingCommand | None:
        broker = self._broker
        check_readable(broker, "peeking")
        topic, _ = check_topic_and_group(broker, ctx, header.topic, header.consumer_group, header.queue_id)
        if self._has_message(header, topic):
            return request.reply(header=NotificationResponseHeader(has_msg=True))
        left = wait_ms(broker, header.born_time, header.poll_time)
        return self._wait(ctx, request, header, topic, broker.clock.monotonic_ms() + left)

    def _wait(
        self,
        ctx: RequestContext,
        request: RemotingCommand,
        header: NotificationRequestHeader,
        topic: TopicConfig,
        deadline_ms: int,
    ) -> RemotingCommand | None:
        broker = self._broker
        if deadline_ms <= broker.clock.monotonic_ms():
            return request.reply(header=NotificationResponseHeader())
        matches = NO_FILTER
        if header.exp:
            matches = subscription_filter(broker, header.topic, header.consumer_group, header.exp, header.exp_type)
        waiting = waiting_request(broker, ctx, request, header, topic, matches, deadline_ms)
        if ctx.channel.closed or broker.pop.notifications.hold(waiting):
            ctx.suspended = True
            return None
        return request.reply(header=NotificationResponseHeader(polling_full=True))

    def _has_message(self, header: NotificationRequestHeader, topic: TopicConfig) -> bool:
        queue_ids = range(topic.read_queue_nums) if header.queue_id < 0 else (header.queue_id,)
        if any(self._queue_has(header, topic.topic_name, queue_id) for queue_id in queue_ids):
            return True
        for name in retry_topics(self._broker, header.topic, header.consumer_group):
            retry = self._broker.topics.select(name)
            if retry is not None and any(self._queue_has(header, name, each) for each in range(retry.read_queue_nums)):
                return True
        return False

    def _queue_has(self, header: NotificationRequestHeader, topic: str, queue_id: int) -> bool:
        broker, group = self._broker, header.consumer_group
        if header.order and broker.pop.order_infos.blocks(header.topic, group, queue_id, header.attempt_id):
            return False
        if header.order:
            committed = broker.offsets.query(group, topic, queue_id)
            offset = committed if committed >= 0 else broker.store.min_offset(topic, queue_id)
        else:
            offset = broker.pop.taker.begin_offset(topic, group, queue_id, INIT_MIN)
        return broker.store.max_offset(topic, queue_id) > offset

    def _resume(self, held: HeldPop, expired: bool) -> None:
        header: NotificationRequestHeader = held.header
        topic = self._broker.topics.select(header.topic)
        has = topic is not None and self._has_message(header, topic)
        answer: RemotingCommand | None
        if topic is None or has or expired:
            answer = held.request.reply(header=NotificationResponseHeader(has_msg=has))
        else:
            try:
                answer = self._wait(held.context, held.request, header, topic, held.deadline_ms)
            except BrokerError as refused:
                answer = held.request.reply(ResponseCode(refused.response_code), refused.remark)
        if answer is not None:
            held.context.reply_later(answer)
