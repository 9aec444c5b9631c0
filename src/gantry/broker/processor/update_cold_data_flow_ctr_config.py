"""UPDATE_COLD_DATA_FLOW_CTR_CONFIG (2001): how many bytes of cold data groups may read in a period."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, ConfigError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.properties import parse_request

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)

GROUPS_MAX = 10_000
_INT64_MAX = (1 << 63) - 1


class UpdateColdDataFlowCtrConfigProcessor:
    """The body is properties text, group=bytes; what is no number is passed over, as in the original.

    Source: AdminBrokerProcessor.updateColdDataFlowCtrGroupConfig (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        try:
            pairs = parse_request(request.body) if request.body else {}
        except ConfigError as error:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"string2Properties error: {error}") from None
        settings = self._broker.cold_data.thresholds.settings
        for group, text in pairs.items():
            if not text.isascii() or not text.removeprefix("-").isdigit() or abs(int(text[:20])) > _INT64_MAX:
                log.error("cold data threshold of group %s is no number: %s", group, text[:64])
            elif group not in settings and len(settings) >= GROUPS_MAX:
                raise BrokerError(ResponseCode.SYSTEM_ERROR, f"there are {GROUPS_MAX} groups with a threshold already")
            else:
                settings[group] = int(text)
        log.info("cold data thresholds of %s set by %s", ", ".join(sorted(pairs)), ctx.channel.remote_address)
        return request.reply()
