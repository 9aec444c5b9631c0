"""DELETE_RECURRING_TIMER (900013), ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError, StoreError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.delete_recurring_timer import DeleteRecurringTimerRequestHeader

from ..recurring import RecurringRefused

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class DeleteRecurringTimerProcessor:
    """Answered when nothing more comes of it, over any crash; 22 when there is none of that name."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: DeleteRecurringTimerRequestHeader
    ) -> RemotingCommand:
        try:
            await self._broker.recurring.delete(header.name)
        except RecurringRefused as error:
            raise BrokerError(ResponseCode.QUERY_NOT_FOUND, str(error)) from None
        except StoreError as error:
            raise BrokerError(ResponseCode.SERVICE_NOT_AVAILABLE, f"it is not on the disk that it ends: {error}") from error
        return request.reply()
