"""A request that the broker passes on to one of its clients, and the client's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError, RemotingError, RemotingTimeout
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand

if TYPE_CHECKING:
    from ..context import BrokerContext

CALL_TIMEOUT_MS = 10_000
V3_1_8_SNAPSHOT = 62
"""Clients before it answer neither of the requests that are passed on."""


async def call_consumer(
    broker: BrokerContext, request: RemotingCommand, group: str, client_id: str, body: bytes = b""
) -> RemotingCommand:
    """Asks the client and gives its answer the opaque of `request`. Source: AdminBrokerProcessor.callConsumer (5.5).

    Raises: BrokerError 1 when the client is not there or too old, 207 when it does not answer in time.
    """
    client = broker.consumers.find_client(group, client_id)
    if client is None:
        raise BrokerError(ResponseCode.SYSTEM_ERROR, f"The Consumer <{group}> <{client_id}> not online")
    if client.version < V3_1_8_SNAPSHOT:
        raise BrokerError(
            ResponseCode.SYSTEM_ERROR,
            f"The Consumer <{client_id}> Version <{client.version}> too low to finish, please upgrade it to V3_1_8_SNAPSHOT",
        )
    asked = RemotingCommand(request.code, ext_fields=dict(request.ext_fields or {}), body=body)
    try:
        answer = await client.channel.invoke(asked, CALL_TIMEOUT_MS)
    except RemotingTimeout as error:
        raise BrokerError(ResponseCode.CONSUME_MSG_TIMEOUT, f"consumer <{group}> <{client_id}> Timeout: {error}") from None
    except RemotingError as error:
        raise BrokerError(ResponseCode.SYSTEM_ERROR, f"invoke consumer <{group}> <{client_id}> Exception: {error}") from None
    reply = request.reply(answer.code, answer.remark, body=answer.body)
    reply.ext_fields = answer.ext_fields
    return reply
