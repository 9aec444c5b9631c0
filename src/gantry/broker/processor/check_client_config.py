"""CHECK_CLIENT_CONFIG (46): may this client subscribe like this?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.model.heartbeat import EXPRESSION_TAG
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.check_client import CheckClientRequestBody
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class CheckClientConfigProcessor:
    """Tag expressions always may; this broker evaluates no others.

    Source: ClientManageProcessor.checkClientConfig (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        subscription = json_dialect.decode_request(request.body, CheckClientRequestBody).subscription_data
        kind = EXPRESSION_TAG if subscription is None else subscription.expression_type
        if kind not in ("", EXPRESSION_TAG):
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"The broker does not support consumer to filter message by {kind}")
        return request.reply()
