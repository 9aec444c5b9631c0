"""GET_BROKER_HA_STATUS (907): how replication stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.body.ha_runtime_info import HARuntimeInfo
from gantry.protocol.remoting.command import RemotingCommand

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetBrokerHaStatusProcessor:
    """A master without slaves: nobody is connected and nobody is in sync.

    Source: AdminBrokerProcessor.getBrokerHaStatus (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        broker = self._broker
        info = HARuntimeInfo(master=not broker.config.is_slave, master_commit_log_max_offset=broker.store.max_physical_offset)
        return json_reply(request, info)
