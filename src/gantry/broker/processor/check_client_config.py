"""CHECK_CLIENT_CONFIG (46): may this client subscribe like this?"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, FilterExpressionError
from gantry.model.heartbeat import is_tag_type
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.check_client import CheckClientRequestBody
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand

from ..consumer_filter import compile_expression
from .remarks import not_supported

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


log = logging.getLogger(__name__)

_LOGGED_CHARS = 200


class CheckClientConfigProcessor:
    """Tag expressions always may; those over properties when `enablePropertyFilter` says so and they can be read.

    Source: ClientManageProcessor.checkClientConfig (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        subscription = json_dialect.decode_request(request.body, CheckClientRequestBody).subscription_data
        if subscription is None or is_tag_type(subscription.expression_type):
            return request.reply()
        if not self._broker.config.enable_property_filter:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, not_supported(subscription.expression_type))
        try:
            compiled = compile_expression(subscription.sub_string, subscription.expression_type)
        except FilterExpressionError as error:
            log.warning("the expression of a client over topic %s cannot be read: %s", subscription.topic, error)
            raise BrokerError(ResponseCode.SUBSCRIPTION_PARSE_FAILED, str(error)) from None
        if compiled.ignored_from >= 0:
            log.warning(
                "the expression of a client over topic %s ends at character %d, what follows is not heeded: %s",
                subscription.topic, compiled.ignored_from, compiled.expression[:_LOGGED_CHARS],
            )  # fmt: skip
        return request.reply()
