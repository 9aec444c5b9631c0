"""GET_TIMER_CHECK_POINT (60): how far the timer has come, as a slave copies it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.disk.timer_checkpoint_layout import encode_timer_checkpoint
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetTimerCheckPointProcessor:
    """The 56 bytes of timercheck. Source: AdminBrokerProcessor.getTimerCheckPoint (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        return request.reply(ResponseCode.SUCCESS, body=encode_timer_checkpoint(self._broker.timer.book.checkpoint()))
