"""ACK_MESSAGE (200051): a popped message is done."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, StoreError
from gantry.protocol.message.pop_handle import parse_handle
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.ack_message import AckMessageRequestHeader
from gantry.runtime.remoting_server import RequestContext

from ..pop.ack_turn import AckTurn
from ..pop.acks import ack_in_order
from .pop_checks import check_queue, find_topic

if TYPE_CHECKING:
    from ..context import BrokerContext

log = logging.getLogger(__name__)


class AckMessageProcessor:
    """The answer comes after the acknowledgement is noted where a killed process does not lose it, with the others of its turn.

    A handle that is no longer the message's (its time was over, it was changed, it was acknowledged before) is answered with
    success and changes nothing. Source: AckMessageProcessor (5.3).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker
        self._turn = AckTurn(broker.pop.account)

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: AckMessageRequestHeader
    ) -> RemotingCommand | None:
        broker = self._broker
        topic, group, queue_id = header.topic, header.consumer_group, header.queue_id
        check_queue(ctx, find_topic(broker, topic), queue_id)
        first, end = broker.store.min_offset(topic, queue_id), broker.store.max_offset(topic, queue_id)
        if not first <= header.offset <= end:
            raise BrokerError(
                ResponseCode.NO_MESSAGE,
                f"offset is illegal, key:{topic}@{queue_id}, commit:{header.offset}, store:{first}~{end}",
            )
        handle = parse_handle(header.extra_info)
        if not handle.is_order:
            queue = broker.pop.account.find(topic, group, queue_id)
            if queue is None:
                return request.reply()
            self._turn.add(ctx, queue, header.offset, handle.pop_time)
            return None
        try:
            refusal = ack_in_order(broker, topic, group, queue_id, header.offset, handle.pop_time, ctx.channel.remote_address)
        except StoreError as error:
            log.error("an acknowledgement of group %s in %s is not noted: %s", group, topic, error)
            raise BrokerError(ResponseCode.SERVICE_NOT_AVAILABLE, str(error)) from error
        if refusal is not None:
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, refusal)
        return request.reply()
