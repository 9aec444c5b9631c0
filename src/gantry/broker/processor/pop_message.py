"""POP_MESSAGE (200050): messages of a topic, kept from others for a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, MQError, StoreError
from gantry.model import SubscriptionGroupConfig, TopicConfig
from gantry.model.message_type import PRIORITY
from gantry.protocol.message import pop_handle
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.pop_message import PopMessageRequestHeader, PopMessageResponseHeader
from gantry.runtime.begun import begun
from gantry.runtime.remoting_server import RequestContext

from ..consumer_filter import PullFilter
from ..long_polling import HeldPop
from ..pop.take import Take
from .pop_checks import (
    OUT_OF_TIME_MS,
    check_readable,
    check_topic_and_group,
    pop_retry_topic,
    retry_topics,
    subscription_filter,
    wait_ms,
    waiting_request,
)

if TYPE_CHECKING:
    from ..context import BrokerContext

log = logging.getLogger(__name__)

COUNT_MAX = 32


class PopMessageProcessor:
    """Answers pops, and runs those that waited again. Source: PopMessageProcessor (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker
        self._pops = 0
        self._tasks: set[asyncio.Task[None]] = set()
        broker.pop.pops.resume = self._resume

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: PopMessageRequestHeader
    ) -> RemotingCommand | Awaitable[RemotingCommand | None] | None:
        if not header.born_time:
            header.born_time = self._broker.clock.now_ms()
        # What lies in memory is taken without a wait.
        return begun(self._pop(ctx, request, header, None, False))

    async def _pop(
        self,
        ctx: RequestContext,
        request: RemotingCommand,
        header: PopMessageRequestHeader,
        held: HeldPop | None,
        expired: bool,
    ) -> RemotingCommand | None:
        """One try. `held` is the wait this try ends, None for the first one; `expired` says that it may not wait again."""
        try:
            topic, group, matches = self._check(ctx, header, held)
        except BrokerError as refused:
            response = request.reply(refused.response_code, refused.remark)
            response.ext_fields = PopMessageResponseHeader().encode()
            return response
        take = self._new_take(header, matches)
        full = self._broker.pop.account.ledger.out_count >= self._broker.config.pop_out_count_max
        if not full:
            try:
                await self._take(take, topic, group, header)
            except StoreError as error:
                log.error("a pop of group %s in %s ended early: %s", header.consumer_group, header.topic, error)
                if not take.records:
                    raise BrokerError(ResponseCode.SYSTEM_ERROR, str(error)) from error
        if take.records:
            if take.rest > 0:
                self._broker.pop.pops.wake_one(header.topic, header.consumer_group, header.queue_id)
            return self._answer(request, take, ResponseCode.SUCCESS)
        if full:
            return self._answer(request, take, ResponseCode.POLLING_FULL)
        return self._wait(ctx, request, header, topic, matches, take, held, expired)

    # -- rules

    def _check(
        self, ctx: RequestContext, header: PopMessageRequestHeader, held: HeldPop | None
    ) -> tuple[TopicConfig, SubscriptionGroupConfig, PullFilter]:
        broker, config = self._broker, self._broker.config
        if held is None and broker.clock.now_ms() - header.born_time - header.poll_time > OUT_OF_TIME_MS:
            raise BrokerError(ResponseCode.POLLING_TIMEOUT, f"the broker[{config.broker_ip1}] pop message is timeout too much")
        check_readable(broker, "pop")
        if header.max_msg_nums > COUNT_MAX:
            raise BrokerError(
                ResponseCode.INVALID_PARAMETER, f"the broker[{config.broker_ip1}] pop message's num is greater than {COUNT_MAX}"
            )
        topic, group = check_topic_and_group(broker, ctx, header.topic, header.consumer_group, header.queue_id)
        if held is not None:
            return topic, group, PullFilter(held.matches, held.record_filter)
        return topic, group, subscription_filter(broker, header.topic, header.consumer_group, header.exp, header.exp_type)

    def _new_take(self, header: PopMessageRequestHeader, matches: PullFilter) -> Take:
        self._pops += 1
        revive_qid = pop_handle.ORDER_REVIVE_QUEUE if header.order else self._pops % self._broker.config.revive_queue_num
        return Take(
            group=header.consumer_group,
            topic=header.topic,
            count_max=max(header.max_msg_nums, 1),
            invisible_time=header.invisible_time,
            init_mode=header.init_mode,
            pop_time=self._broker.clock.now_ms(),
            revive_qid=revive_qid,
            matches=matches,
            order=header.order,
            attempt_id=header.attempt_id,
        )

    # -- taking

    async def _take(
        self, take: Take, topic: TopicConfig, group: SubscriptionGroupConfig, header: PopMessageRequestHeader
    ) -> None:
        config = self._broker.config
        start = self._broker.rng.randrange(100)
        by_priority = topic.message_type == PRIORITY and not header.order and start < group.priority_factor
        probability = config.pop_from_retry_probability_for_priority if by_priority else config.pop_from_retry_probability
        retry_first = start < probability and not header.order
        # One of the two retry topics a request: both would have the same flag in the answer where clients look for offsets.
        retry = pop_retry_topic(self._broker, header.topic, header.consumer_group)
        candidates = retry_topics(self._broker, header.topic, header.consumer_group)
        if len(candidates) > 1 and start % 2 == 0:
            retry = candidates[1]
        if retry_first:
            await self._take_topic(take, self._broker.topics.select(retry), start)
        if header.queue_id < 0:
            await self._take_topic(take, topic, 0 if by_priority else start)
        else:
            await self._broker.pop.taker.take_queue(take, topic.topic_name, header.queue_id)
        if not retry_first and not take.is_full and not header.order:
            await self._take_topic(take, self._broker.topics.select(retry), start)

    async def _take_topic(self, take: Take, topic: TopicConfig | None, start: int) -> None:
        """Queue after queue, beginning `start` behind the most urgent one: the number of a queue is its priority."""
        if topic is None:
            return
        count, taker = topic.read_queue_nums, self._broker.pop.taker
        for each in reversed(range(count)) if self._broker.config.priority_order_asc else range(count):
            if take.is_full and not take.order:
                taker.pass_by(take, topic.topic_name, (start + each) % count)
            else:
                await taker.take_queue(take, topic.topic_name, (start + each) % count)

    # -- answers

    def _answer(self, request: RemotingCommand, take: Take, code: int) -> RemotingCommand:
        return request.reply(
            code,
            "FOUND" if take.records else "NO_MESSAGE_IN_QUEUE",
            PopMessageResponseHeader(
                pop_time=take.pop_time,
                invisible_time=take.invisible_time,
                revive_qid=take.revive_qid,
                rest_num=take.rest,
                start_offset_info=pop_handle.join_entries(take.start_offsets),
                msg_offset_info=pop_handle.join_entries(take.msg_offsets),
                order_count_info=pop_handle.join_entries(take.order_counts) if take.order else None,
            ),
            b"".join(take.records),
        )

    def _wait(
        self,
        ctx: RequestContext,
        request: RemotingCommand,
        header: PopMessageRequestHeader,
        topic: TopicConfig,
        matches: PullFilter,
        take: Take,
        held: HeldPop | None,
        expired: bool,
    ) -> RemotingCommand | None:
        broker = self._broker
        if held is None:
            left = wait_ms(broker, header.born_time, header.poll_time)
        else:
            left = held.deadline_ms - broker.clock.monotonic_ms()
        if expired or left <= 0:
            return self._answer(request, take, ResponseCode.POLLING_TIMEOUT)
        waiting = waiting_request(broker, ctx, request, header, topic, matches, broker.clock.monotonic_ms() + left)
        if ctx.channel.closed:
            return None
        if not broker.pop.pops.hold(waiting):
            return self._answer(request, take, ResponseCode.POLLING_FULL)
        ctx.suspended = True
        if take.waited:
            # Something may have come while it was read: looked at once more.
            broker.pop.pops.wake_one(*waiting.key)
        return None

    # -- waiting

    def _resume(self, held: HeldPop, expired: bool) -> None:
        task = asyncio.get_running_loop().create_task(self._finish(held, expired))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, held: HeldPop, expired: bool) -> None:
        if held.context.channel.closed:
            return
        try:
            answer = await self._pop(held.context, held.request, held.header, held, expired)
        except Exception as error:
            if not isinstance(error, MQError):
                log.exception("a held pop of %s failed", held.key)
            answer = held.request.reply(ResponseCode.SYSTEM_ERROR, str(error), PopMessageResponseHeader())
        if answer is not None:
            held.context.reply_later(answer)
