"""GET_TIMER_METRICS (61): how many timers of each topic wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetTimerMetricsProcessor:
    """The shape of timermetrics. Source: AdminBrokerProcessor.getTimerMetrics (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        if not self._broker.config.timer_wheel_enable:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, "The timer message store is null")
        return json_reply(request, self._broker.timer.account.metrics.to_json_value())
