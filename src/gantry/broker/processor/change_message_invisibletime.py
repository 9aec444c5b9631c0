"""CHANGE_MESSAGE_INVISIBLETIME (200053): a popped message is kept from others for another while."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, StoreError
from gantry.protocol.message.pop_handle import PopHandle, parse_handle
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.change_message_invisibletime import (
    ChangeInvisibleTimeRequestHeader,
    ChangeInvisibleTimeResponseHeader,
)
from gantry.runtime.remoting_server import RequestContext

from .pop_checks import check_queue, find_topic

if TYPE_CHECKING:
    from ..context import BrokerContext

log = logging.getLogger(__name__)


class ChangeInvisibleTimeProcessor:
    """The answer makes a new handle; the old one ends. Of an orderly pop the pop time stays.

    A handle that is no longer the message's gets a new one, too, which is nobody's: what was acknowledged stays so.
    Source: ChangeInvisibleTimeProcessor (5.3), which would give such a message once more.
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: ChangeInvisibleTimeRequestHeader
    ) -> RemotingCommand:
        broker = self._broker
        topic, queue_id = header.topic, header.queue_id
        check_queue(ctx, find_topic(broker, topic), queue_id)
        first, end = broker.store.min_offset(topic, queue_id), broker.store.max_offset(topic, queue_id)
        if not first <= header.offset < end:
            remark = f"offset is illegal, key:{topic}@{queue_id}, change:{header.offset}, store:{first}~{end}"
            return request.reply(ResponseCode.NO_MESSAGE, remark, ChangeInvisibleTimeResponseHeader())
        handle = parse_handle(header.extra_info)
        try:
            answer = self._in_order(header, handle) if handle.is_order else self._change(header, handle)
        except StoreError as error:
            log.error("a new invisible time of group %s in %s is not noted: %s", header.consumer_group, topic, error)
            raise BrokerError(ResponseCode.SERVICE_NOT_AVAILABLE, str(error)) from error
        return request.reply(header=answer)

    def _change(self, header: ChangeInvisibleTimeRequestHeader, handle: PopHandle) -> ChangeInvisibleTimeResponseHeader:
        account = self._broker.pop.account
        queue = account.find(header.topic, header.consumer_group, header.queue_id)
        if queue is None:
            pop_time = self._broker.clock.now_ms()
        else:
            pop_time = account.change(queue, header.offset, handle.pop_time, header.invisible_time)
        return ChangeInvisibleTimeResponseHeader(
            pop_time=pop_time, invisible_time=header.invisible_time, revive_qid=handle.revive_qid
        )

    def _in_order(self, header: ChangeInvisibleTimeRequestHeader, handle: PopHandle) -> ChangeInvisibleTimeResponseHeader:
        broker, infos = self._broker, self._broker.pop.order_infos
        key = header.topic, header.consumer_group, header.queue_id
        committed = broker.offsets.query(header.consumer_group, header.topic, header.queue_id)
        if header.offset < committed:
            return ChangeInvisibleTimeResponseHeader()
        visible_at = infos.now(key) + max(header.invisible_time, 0)
        info = infos.find(*key)
        if info is not None and info.set_visible_at(header.offset, handle.pop_time, visible_at):
            infos.put(*key, info, max(committed, 0), new=False)
            if not infos.blocks(*key, None):
                broker.pop.queue_is_free(*key)
        return ChangeInvisibleTimeResponseHeader(
            pop_time=handle.pop_time, invisible_time=visible_at - handle.pop_time, revive_qid=handle.revive_qid
        )
