"""VIEW_MESSAGE_BY_ID (33): one message by its place in the commit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.view_message import ViewMessageRequestHeader

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class ViewMessageByIdProcessor:
    """Source: QueryMessageProcessor.viewMessageById (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: ViewMessageRequestHeader
    ) -> RemotingCommand:
        record = await self._broker.store.message_at(header.offset) if header.offset >= 0 else None
        if record is None:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"can not find message by the offset, {header.offset}")
        return request.reply(body=bytes(record))
