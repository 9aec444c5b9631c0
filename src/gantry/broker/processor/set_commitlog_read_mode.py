"""SET_COMMITLOG_READ_MODE (2004): whether reads of old data bring what lies behind it, too."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)

FIELD = "READ_AHEAD_MODE"
NORMAL, RANDOM = 0, 1
"""Source: LibC.MADV_NORMAL, MADV_RANDOM (5.5)."""


class SetCommitlogReadModeProcessor:
    """Until the next start, as in the original. Source: AdminBrokerProcessor.setCommitLogReadaheadMode (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        if request.ext_fields is None:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, "set commitlog readahead mode param error")
        text = request.ext_fields.get(FIELD, "")
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
            raise BrokerError(ResponseCode.SYSTEM_ERROR, "set commitlog readahead mode failed")
        mode = int(text)
        if mode not in (NORMAL, RANDOM):
            raise BrokerError(ResponseCode.INVALID_PARAMETER, "set commitlog readahead mode param value error")
        broker = self._broker
        broker.config.data_read_ahead_enable = mode == NORMAL
        broker.config_changed()
        log.info("commit log read mode %d set by %s", mode, ctx.channel.remote_address)
        return request.reply(remark=f"set commitlog readahead mode success, mode: {mode}")
