"""RESUME_CHECK_HALF_MESSAGE: an operator has a half message checked again that was set aside."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, ProtocolError, StoreError
from gantry.protocol.message.message_id import decode_offset_msg_id
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.resume_check_half_message import ResumeCheckHalfMessageRequestHeader
from gantry.runtime.remoting_server import RequestContext

if TYPE_CHECKING:
    from ..context import BrokerContext

log = logging.getLogger(__name__)

FAILED = "Put message back to RMQ_SYS_TRANS_HALF_TOPIC failed."
EXCEPTION = "Exception was thrown when putting message back to RMQ_SYS_TRANS_HALF_TOPIC."


class ResumeCheckHalfMessageProcessor:
    """Appends a message of TRANS_CHECK_MAX_TIME_TOPIC to the half topic, its checks counted from none.

    The original takes any message of the broker. Source: AdminBrokerProcessor.resumeCheckHalfMessage (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: ResumeCheckHalfMessageRequestHeader
    ) -> RemotingCommand:
        try:
            _, physical_offset = decode_offset_msg_id(header.msg_id or "")
            result = await self._broker.transactions.resume(physical_offset)
        except (ProtocolError, StoreError) as error:
            log.error("half message %s is not checked again: %s", header.msg_id, error)
            raise BrokerError(ResponseCode.SYSTEM_ERROR, EXCEPTION) from error
        if result is None:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, EXCEPTION)
        if not result.ok:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, FAILED)
        log.info("half message %s is checked again", header.msg_id)
        return request.reply()
