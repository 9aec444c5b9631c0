"""PULL_MESSAGE and LITE_PULL_MESSAGE: messages of one queue, now or when they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, MQError, RemoteProtocolError
from gantry.model import SubscriptionData, SubscriptionGroupConfig, TopicConfig, names, perm_name, sys_flag
from gantry.model.heartbeat import CONSUME_ACTIVELY, CONSUME_PASSIVELY, is_tag_type
from gantry.protocol.filter import build_subscription
from gantry.protocol.remoting.codes import RequestCode, ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.pull_message import PullMessageRequestHeader, PullMessageResponseHeader
from gantry.runtime.remoting_server import RequestContext
from gantry.store import GetResult, GetStatus

from ..consumer_filter import PullFilter, tag_filter
from ..long_polling import HeldPull
from ..subscription.subscription_group_manager import FORBIDDEN_READ_BIT
from .pull_expression import expression_filter, not_parsed, registered_filter
from .remarks import kept_otherwise, not_supported, suggest, topic_not_exist

if TYPE_CHECKING:
    from ..context import BrokerContext

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 8 * 1024 * 1024
"""Most bytes of messages in one answer: a frame ends at 16 MiB, and the first message always passes."""

HELD_BACK = "This consumer group is reading cold data. It has been flow control"

FORBIDDEN_BROKER, FORBIDDEN_GROUP, FORBIDDEN_TOPIC, FORBIDDEN_BROADCASTING, FORBIDDEN_SUBSCRIPTION = 1, 2, 3, 4, 5
"""What a refused pull may not read. Source: ForbiddenType (5.3)."""

_FOUND = GetStatus.FOUND
_RETRY_AT_ONCE = frozenset({GetStatus.NO_MATCHED_MESSAGE, GetStatus.MESSAGE_WAS_REMOVING})
_NOTHING_YET = frozenset({GetStatus.OFFSET_FOUND_NULL, GetStatus.OFFSET_OVERFLOW_ONE})
_NO_QUEUE = frozenset({GetStatus.NO_MATCHED_LOGIC_QUEUE, GetStatus.NO_MESSAGE_IN_QUEUE})


class PullForbidden(BrokerError):
    """A pull that is not allowed; the answer names the kind of what forbids it."""

    def __init__(self, forbidden_type: int, remark: str) -> None:
        super().__init__(ResponseCode.NO_PERMISSION, remark)
        self.forbidden_type = forbidden_type


class PullMessageProcessor:
    """Answers pulls, and runs those that waited again.

    Source: PullMessageProcessor, DefaultPullMessageResultHandler (5.3).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker
        self._tasks: set[asyncio.Future[None]] = set()
        broker.long_polling.resume = self._resume

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: PullMessageRequestHeader
    ) -> RemotingCommand | Awaitable[RemotingCommand | None] | None:
        return self._pull(ctx, request, header, None, False)

    def _pull(
        self,
        ctx: RequestContext,
        request: RemotingCommand,
        header: PullMessageRequestHeader,
        held: HeldPull | None,
        expired: bool,
        parked: bool = False,
    ) -> RemotingCommand | Awaitable[RemotingCommand | None] | None:
        """One try. `held` is the wait this try ends, None for the first one; `expired` says that it may not wait again;
        `parked` that it has been held back from cold data before."""
        try:
            topic, group = self._check(ctx, request, header)
            matches = self._filter(ctx, header, group)
        except PullForbidden as refused:
            response = request.reply(refused.response_code, refused.remark)
            response.ext_fields = {"forbiddenType": str(refused.forbidden_type)}
            return response
        except BrokerError as refused:
            response = request.reply(refused.response_code, refused.remark)
            response.ext_fields = {}
            return response
        broker = self._broker
        if broker.cold_data.is_over(header.consumer_group) and broker.store.is_cold(
            header.topic, header.queue_id, header.queue_offset
        ):
            info = broker.consumers.group_info(header.consumer_group)
            if parked:
                header.max_msg_nums = 1
            elif (info is not None and info.consume_type == CONSUME_PASSIVELY) or not broker.cold_data.park(
                lambda: self._resume_parked(ctx, request, header)
            ):
                response = request.reply(ResponseCode.SYSTEM_BUSY, HELD_BACK)
                response.ext_fields = {}
                return response
            else:
                return None
        reset = (
            broker.offsets.take_reset_offset(header.topic, header.consumer_group, header.queue_id)
            if broker.config.use_server_side_reset_offset
            else None
        )
        if reset is not None:
            return self._reset_answer(request, header, topic, group, reset)
        limit = BODY_BYTES_MAX if header.max_msg_bytes is None else min(header.max_msg_bytes, BODY_BYTES_MAX)
        result = broker.store.get(
            header.topic,
            header.queue_id,
            header.queue_offset,
            max(header.max_msg_nums, 1),
            max(limit, 1),
            matches.tags,
            matches.record,
        )
        if isinstance(result, GetResult):
            return self._answer(ctx, request, header, topic, group, matches, result, held, expired)
        return self._answer_later(ctx, request, header, topic, group, matches, result, held, expired)

    async def _answer_later(
        self,
        ctx: RequestContext,
        request: RemotingCommand,
        header: PullMessageRequestHeader,
        topic: TopicConfig,
        group: SubscriptionGroupConfig,
        matches: PullFilter,
        reading: Awaitable[GetResult],
        held: HeldPull | None,
        expired: bool,
    ) -> RemotingCommand | None:
        return self._answer(ctx, request, header, topic, group, matches, await reading, held, expired)

    # -- rules

    def _check(
        self, ctx: RequestContext, request: RemotingCommand, header: PullMessageRequestHeader
    ) -> tuple[TopicConfig, SubscriptionGroupConfig]:
        broker, config = self._broker, self._broker.config
        if not perm_name.is_readable(config.broker_permission):
            raise PullForbidden(FORBIDDEN_BROKER, f"the broker[{config.broker_ip1}] pulling message is forbidden")
        if request.code == RequestCode.LITE_PULL_MESSAGE and not config.lite_pull_message_enable:
            raise PullForbidden(FORBIDDEN_BROKER, f"the broker[{config.broker_ip1}] for lite pull consumer is forbidden")
        group = broker.subscriptions.find(header.consumer_group)
        if group is None:
            raise BrokerError(
                ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST,
                f"subscription group [{header.consumer_group}] does not exist, {suggest()}",
            )
        if not group.consume_enable:
            raise PullForbidden(FORBIDDEN_GROUP, f"subscription group no permission, {header.consumer_group}")
        topic = broker.topics.select(header.topic)
        if topic is None:
            raise BrokerError(ResponseCode.TOPIC_NOT_EXIST, topic_not_exist(header.topic))
        if topic.other_keeping is not None:
            raise BrokerError(ResponseCode.NO_PERMISSION, kept_otherwise(topic))
        if not perm_name.is_readable(topic.perm):
            raise PullForbidden(FORBIDDEN_TOPIC, f"the topic[{header.topic}] pulling message is forbidden")
        if not 0 <= header.queue_id < topic.read_queue_nums:
            raise BrokerError(
                ResponseCode.INVALID_PARAMETER,
                f"queueId[{header.queue_id}] is illegal, topic:[{header.topic}] topicConfig.readQueueNums:"
                f"[{topic.read_queue_nums}] consumer:[/{ctx.channel.remote_address}]",
            )
        if header.queue_offset < 0:
            # The original takes a negative offset as one below the queue's minimum; so do we, in the store's answer.
            log.debug("pull of %s queue %d at offset %d", header.topic, header.queue_id, header.queue_offset)
        return topic, group

    def _filter(self, ctx: RequestContext, header: PullMessageRequestHeader, group: SubscriptionGroupConfig) -> PullFilter:
        """The pull's filter. Raises: BrokerError."""
        consumers, compiled = self._broker.consumers, None
        if header.sys_flag & sys_flag.PULL_SUBSCRIPTION:
            try:
                subscription = build_subscription(
                    header.topic, header.subscription, header.expression_type, sub_version=header.sub_version
                )
            except RemoteProtocolError as error:
                raise not_parsed(header, error) from None
            consumers.compensate_subscription(header.consumer_group, header.topic, subscription)
        else:
            subscription = self._heartbeat_subscription(header, group)
            if not is_tag_type(subscription.expression_type):
                compiled = registered_filter(self._broker, header)
        if not is_tag_type(subscription.expression_type) and not self._broker.config.enable_property_filter:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, not_supported(subscription.expression_type))
        if self._broker.config.reject_pull_consumer_enable:
            info = consumers.group_info(header.consumer_group)
            active = info is None or info.consume_type == CONSUME_ACTIVELY
            known = info is not None and ctx.channel.id in info.channels
            if active and not known and not names.is_system_group(header.consumer_group):
                raise BrokerError(
                    ResponseCode.SUBSCRIPTION_NOT_EXIST,
                    f"the consumer's group info not exist, or the pull consumer is rejected by server.{suggest()}",
                )
        if is_tag_type(subscription.expression_type):
            return PullFilter(tag_filter(subscription))
        return expression_filter(self._broker, header, subscription, compiled)

    def _heartbeat_subscription(self, header: PullMessageRequestHeader, group: SubscriptionGroupConfig) -> SubscriptionData:
        broker, name = self._broker, header.consumer_group
        info = broker.consumers.group_info(name)
        if info is None:
            log.warning("the consumer's group info not exist, group: %s", name)
            raise BrokerError(ResponseCode.SUBSCRIPTION_NOT_EXIST, f"the consumer's group info not exist{suggest()}")
        if not group.consume_broadcast_enable and info.is_broadcasting:
            raise PullForbidden(FORBIDDEN_BROADCASTING, f"the consumer group[{name}] can not consume by broadcast way")
        if broker.subscriptions.is_forbidden(name, header.topic, FORBIDDEN_READ_BIT):
            raise PullForbidden(FORBIDDEN_SUBSCRIPTION, f"the consumer group[{name}] is forbidden for topic[{header.topic}]")
        subscription = info.subscription(header.topic)
        if subscription is None:
            log.warning("the consumer's subscription not exist, group: %s, topic: %s", name, header.topic)
            raise BrokerError(ResponseCode.SUBSCRIPTION_NOT_EXIST, f"the consumer's subscription not exist{suggest()}")
        if subscription.sub_version < header.sub_version:
            log.warning("The broker's subscription is not latest, group: %s %s", name, subscription.sub_string)
            raise BrokerError(ResponseCode.SUBSCRIPTION_NOT_LATEST, "the consumer's subscription not latest")
        return subscription

    # -- answers

    def _answer(
        self,
        ctx: RequestContext,
        request: RemotingCommand,
        header: PullMessageRequestHeader,
        topic: TopicConfig,
        group: SubscriptionGroupConfig,
        matches: PullFilter,
        result: GetResult,
        held: HeldPull | None,
        expired: bool,
    ) -> RemotingCommand | None:
        broker = self._broker
        if held is None:
            # Once, and before a wait: a commit must not wait for the next message.
            self._commit(ctx, header)
        status = result.status
        code = code_of(status, header.queue_offset)
        if code == ResponseCode.PULL_NOT_FOUND and not expired and header.sys_flag & sys_flag.PULL_SUSPEND:
            if self._hold(ctx, request, header, matches, held):
                return None
            if held is None:
                return request.reply(
                    ResponseCode.SYSTEM_BUSY,
                    f"[POLLING_FULL]{broker.config.pull_hold_count_max} pulls are waiting at this broker, pull again later",
                )
        body = b""
        if code == ResponseCode.SUCCESS:
            broker.cold_data.count(header.consumer_group, result.cold_bytes)
            body = b"".join(result.views)
            broker.stats.group_get(header.consumer_group, header.topic, header.queue_id, result.count, len(body))
            broker.metrics.pulled(header.consumer_group, header.topic, header.queue_id, result.count, len(body))
            broker.offsets.commit_pull(header.consumer_group, header.topic, header.queue_id, result.next_begin_offset)
        else:
            broker.stats.get_miss()
            if code == ResponseCode.PULL_OFFSET_MOVED:
                log.warning(
                    "PULL_OFFSET_MOVED:correction offset. topic=%s, groupId=%s, queueId=%d, requestOffset=%d, "
                    "newOffset=%d, %s",
                    header.topic, header.consumer_group, header.queue_id, header.queue_offset, result.next_begin_offset,
                    status.name,
                )  # fmt: skip
        suggested = names.MASTER_ID
        if broker.config.slave_read_enable:
            suggested = group.which_broker_when_consume_slowly if result.suggest_slave else group.broker_id
        return request.reply(
            code,
            status.name,
            PullMessageResponseHeader(
                suggest_which_broker_id=suggested,
                next_begin_offset=result.next_begin_offset,
                min_offset=max(result.min_offset, 0),
                max_offset=result.max_offset,
                topic_sys_flag=topic.topic_sys_flag,
                group_sys_flag=group.group_sys_flag,
            ),
            body,
        )

    def _reset_answer(
        self,
        request: RemotingCommand,
        header: PullMessageRequestHeader,
        topic: TopicConfig,
        group: SubscriptionGroupConfig,
        offset: int,
    ) -> RemotingCommand:
        """An operator moved the group: its next pull is told where to."""
        store = self._broker.store
        log.info("The queue under pulling was previously reset to start from %d", offset)
        return request.reply(
            ResponseCode.PULL_OFFSET_MOVED,
            "OFFSET_RESET",
            PullMessageResponseHeader(
                suggest_which_broker_id=names.MASTER_ID,
                next_begin_offset=offset,
                min_offset=max(store.min_offset(header.topic, header.queue_id), 0),
                max_offset=store.max_offset(header.topic, header.queue_id),
                topic_sys_flag=topic.topic_sys_flag,
                group_sys_flag=group.group_sys_flag,
            ),
        )

    def _commit(self, ctx: RequestContext, header: PullMessageRequestHeader) -> None:
        if not header.sys_flag & sys_flag.PULL_COMMIT_OFFSET or header.commit_offset < 0:
            return
        broker = self._broker
        if broker.config.use_server_side_reset_offset and broker.offsets.has_reset(
            header.consumer_group, header.topic, header.queue_id
        ):
            return
        # Above the queue's end nothing was consumed: such an offset would make the group skip messages to come.
        offset = min(header.commit_offset, broker.store.max_offset(header.topic, header.queue_id))
        broker.offsets.commit(header.consumer_group, header.topic, header.queue_id, offset, ctx.channel.remote_address)

    # -- waiting

    def _hold(
        self,
        ctx: RequestContext,
        request: RemotingCommand,
        header: PullMessageRequestHeader,
        matches: PullFilter,
        held: HeldPull | None,
    ) -> bool:
        """Lets the pull wait, or wait on until its first deadline; False when it may not."""
        broker, config = self._broker, self._broker.config
        if held is None:
            wait_ms = min(max(header.suspend_timeout_millis, 0), config.suspend_timeout_millis_max)
            if not config.long_polling_enable:
                wait_ms = config.short_polling_time_mills
            held = HeldPull(
                context=ctx,
                request=request,
                header=header,
                channel_id=ctx.channel.id,
                topic=header.topic,
                queue_id=header.queue_id,
                offset=header.queue_offset,
                matches=matches.tags,
                record_filter=matches.record,
                deadline_ms=broker.clock.monotonic_ms() + wait_ms,
                filter_chars=len(header.subscription or ""),
            )
            # It may wait for minutes, together with a hundred thousand others: what it still needs is in the header.
            request.ext_fields, request.body = None, b""
            header.proxy_forward_client_id = None
        else:
            held.matches, held.record_filter = matches.tags, matches.record
        if ctx.channel.closed:
            return True
        if not broker.long_polling.hold(held):
            return False
        ctx.suspended = True
        if broker.store.max_offset(header.topic, header.queue_id) > header.queue_offset:
            # What arrived while a cold read was under way woke nobody.
            broker.long_polling.wake_queue(header.topic, header.queue_id)
        return True

    def _resume(self, held: HeldPull, expired: bool) -> None:
        if not expired:
            frame = self._broker.long_polling.short_way(held)
            if frame is not None:
                held.context.reply_encoded(frame)
                return
        self._again(held.context, held.request, held.header, held, expired)

    def _resume_parked(self, ctx: RequestContext, request: RemotingCommand, header: PullMessageRequestHeader) -> None:
        if not ctx.channel.closed:
            ctx.suspended = True
            self._again(ctx, request, header, None, False, parked=True)

    def _again(
        self,
        ctx: RequestContext,
        request: RemotingCommand,
        header: PullMessageRequestHeader,
        held: HeldPull | None,
        expired: bool,
        *,
        parked: bool = False,
    ) -> None:
        try:
            answer = self._pull(ctx, request, header, held, expired, parked)
        except Exception as error:
            self._failed(ctx, header, error)
            return
        if answer is None or isinstance(answer, RemotingCommand):
            if answer is not None:
                ctx.reply_later(answer)
            return
        task = asyncio.ensure_future(self._finish(ctx, header, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(
        self, ctx: RequestContext, header: PullMessageRequestHeader, reading: Awaitable[RemotingCommand | None]
    ) -> None:
        try:
            answer = await reading
        except Exception as error:
            self._failed(ctx, header, error)
            return
        if answer is not None:
            ctx.reply_later(answer)

    def _failed(self, ctx: RequestContext, header: PullMessageRequestHeader, error: Exception) -> None:
        if not isinstance(error, MQError):
            log.exception("a held pull of %s queue %d failed", header.topic, header.queue_id)
        ctx.reply_later(ctx.request.reply(ResponseCode.SYSTEM_ERROR, str(error)))


def code_of(status: GetStatus, queue_offset: int) -> int:
    """Response code of what a read found. Source: PullMessageProcessor.composeResponseHeader (5.3)."""
    if status is _FOUND:
        return ResponseCode.SUCCESS
    if status in _RETRY_AT_ONCE:
        return ResponseCode.PULL_RETRY_IMMEDIATELY
    if status in _NOTHING_YET:
        return ResponseCode.PULL_NOT_FOUND
    if status in _NO_QUEUE:
        return ResponseCode.PULL_NOT_FOUND if queue_offset == 0 else ResponseCode.PULL_OFFSET_MOVED
    return ResponseCode.PULL_OFFSET_MOVED
