"""QUERY_ASSIGNMENT (400): the broker computes which queues of a topic a client consumes, and how."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.model.heartbeat import BROADCASTING
from gantry.model.message import MessageQueue
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.message_request_mode import (
    POP,
    PULL,
    MessageQueueAssignment,
    MessageRequestModeBody,
    QueryAssignmentRequestBody,
    QueryAssignmentResponseBody,
)
from gantry.protocol.remoting.command import RemotingCommand

from ..load_balance import STRATEGIES, allocate_for_pop
from ..load_balance.topic_queues import topic_queues
from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)


class QueryAssignmentProcessor:
    """An answer without assignments means that the broker cannot tell; the client then keeps what it has. An empty
    list takes everything from it. Groups pull unless an operator set another mode (401); retry topics always pull.

    Source: QueryAssignmentProcessor.queryAssignment (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        asked = json_dialect.decode_request(request.body, QueryAssignmentRequestBody)
        mode = self._broker.request_modes.find(asked.topic, asked.consumer_group)
        if mode is None:
            mode = MessageRequestModeBody(topic=asked.topic, consumer_group=asked.consumer_group, mode=PULL)
        queues = await self._allocate(asked, mode)
        body = QueryAssignmentResponseBody()
        if queues is not None:
            body.message_queue_assignments = [MessageQueueAssignment(queue, mode.mode) for queue in queues]
        return json_reply(request, body)

    async def _allocate(self, asked: QueryAssignmentRequestBody, mode: MessageRequestModeBody) -> list[MessageQueue] | None:
        queues = await topic_queues(self._broker, asked.topic)
        if queues is None or asked.message_model == BROADCASTING:
            return queues
        info = self._broker.consumers.group_info(asked.consumer_group)
        strategy = STRATEGIES.get(asked.strategy_name)
        if info is None or strategy is None:
            log.warning(
                "no assignment for group %s topic %s: %s", asked.consumer_group, asked.topic,
                "no consumer is connected" if info is None else f"strategy {asked.strategy_name!r} is not known",
            )  # fmt: skip
            return None
        client_ids = sorted(info.client_ids())
        if mode.mode == POP:
            return allocate_for_pop(strategy, asked.client_id, queues, client_ids, mode.pop_share_queue_num)
        return strategy(asked.client_id, queues, client_ids)
