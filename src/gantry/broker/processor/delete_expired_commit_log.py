"""DELETE_EXPIRED_COMMITLOG (329): applies retention to the log now, whatever the hour."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)


class DeleteExpiredCommitLogProcessor:
    """Source: AdminBrokerProcessor.deleteExpiredCommitLog (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        log.warning("invoke deleteExpiredCommitLog, caller %s", ctx.channel.remote_address)
        self._broker.store.execute_delete_files_manually()
        return request.reply()
