"""REMOVE_COLD_DATA_FLOW_CTR_CONFIG (2002): a group has the default threshold again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)


class RemoveColdDataFlowCtrConfigProcessor:
    """The body is the name of the group. Source: AdminBrokerProcessor.removeColdDataFlowCtrGroupConfig (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        group = request.body.decode("utf-8", "replace")
        if self._broker.cold_data.thresholds.settings.pop(group, None) is not None:
            log.info("cold data threshold of %s removed by %s", group, ctx.channel.remote_address)
        return request.reply()
