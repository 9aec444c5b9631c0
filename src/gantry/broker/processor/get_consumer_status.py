"""INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223): offsets as a group's clients see them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, ProtocolError, RemotingError
from gantry.model.message import MessageQueue
from gantry.protocol.remoting.body.consumer import decode_queue_table
from gantry.protocol.remoting.body.group_list import GetConsumerStatusBody
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_consumer_status_from_client import GetConsumerStatusFromClientRequestHeader
from gantry.protocol.remoting.header.invoke_broker_to_get_consumer_status import (
    InvokeBrokerToGetConsumerStatusRequestHeader,
)

from ..client_manager.client_channel import ClientChannelInfo
from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)

CALL_TIMEOUT_MS = 5_000
V3_0_7_SNAPSHOT = 28


class GetConsumerStatusProcessor:
    """Asks every client of the group, or the one named; who does not answer is left out.

    The clients are asked side by side: one after the other, two that hang would outlast the asker's own patience.
    Source: Broker2Client.getConsumeStatus (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: InvokeBrokerToGetConsumerStatusRequestHeader
    ) -> RemotingCommand:
        info = self._broker.consumers.group_info(header.group)
        if info is None:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"No Any Consumer online in the consumer group: [{header.group}]")
        wanted = (header.client_addr or "").strip()
        clients = [client for client in info.channels.values() if wanted in ("", client.client_id)]
        for client in clients:
            if client.version < V3_0_7_SNAPSHOT:
                raise BrokerError(
                    ResponseCode.SYSTEM_ERROR, f"the client does not support this feature. version={client.version}"
                )
        answers = await asyncio.gather(*(self._ask(client, header.topic, header.group) for client in clients))
        table = {client.client_id: answer for client, answer in zip(clients, answers, strict=True) if answer is not None}
        return json_reply(request, GetConsumerStatusBody(table))

    @staticmethod
    async def _ask(client: ClientChannelInfo, topic: str, group: str) -> dict[MessageQueue, int] | None:
        question = RemotingCommand.request(GetConsumerStatusFromClientRequestHeader(topic=topic, group=group))
        try:
            answer = await client.channel.invoke(question, CALL_TIMEOUT_MS)
            if answer.code != ResponseCode.SUCCESS or not answer.body:
                return None
            return {queue: int(offset) for queue, offset in decode_queue_table(answer.body, "messageQueueTable").items()}
        except (RemotingError, ProtocolError, TypeError, ValueError) as error:
            log.error("[get-consumer-status] topic=%s, group=%s, client %s: %s", topic, group, client.client_id, error)
            return None
