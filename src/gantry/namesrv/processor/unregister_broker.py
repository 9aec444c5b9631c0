"""UNREGISTER_BROKER: a broker leaves."""

from __future__ import annotations

import logging

from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.unregister_broker import UnregisterBrokerRequestHeader
from gantry.runtime.remoting_server import RequestContext

from ..broker_live import BrokerUnregistration
from ..context import NamesrvContext

log = logging.getLogger(__name__)


class UnregisterBrokerProcessor:
    """0 as soon as the request is queued; 1 when the queue is full."""

    def __init__(self, names: NamesrvContext) -> None:
        self._service = names.service

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: UnregisterBrokerRequestHeader) -> RemotingCommand:
        queued = self._service.submit_unregistration(
            BrokerUnregistration(header.cluster_name, header.broker_addr, header.broker_name, header.broker_id)
        )
        if not queued:
            log.warning("Couldn't submit the unregister broker request to handler, broker info: %s", header)
            return request.reply(ResponseCode.SYSTEM_ERROR)
        return request.reply()
