"""How the store's result of a put is told to the sender."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.codes import ResponseCode
from gantry.store import PutStatus

if TYPE_CHECKING:
    from ..context import BrokerContext

# Stored: the answer carries the message's place. Everything else is a refusal.
STORED_CODES: dict[PutStatus, int] = {
    PutStatus.PUT_OK: ResponseCode.SUCCESS,
    PutStatus.FLUSH_DISK_TIMEOUT: ResponseCode.FLUSH_DISK_TIMEOUT,
    PutStatus.FLUSH_SLAVE_TIMEOUT: ResponseCode.FLUSH_SLAVE_TIMEOUT,
    PutStatus.SLAVE_NOT_AVAILABLE: ResponseCode.SLAVE_NOT_AVAILABLE,
}


def refusal(status: PutStatus, broker: BrokerContext, reason: str = "") -> tuple[int, str]:
    """Code and remark of a put that stored nothing; `reason` is the store's.

    Source: SendMessageProcessor.handlePutMessageResult (5.3).
    """
    match status:
        case PutStatus.MESSAGE_ILLEGAL | PutStatus.PROPERTIES_SIZE_EXCEEDED:
            return ResponseCode.MESSAGE_ILLEGAL, message_illegal(broker, reason)
        case PutStatus.SERVICE_NOT_AVAILABLE:
            return ResponseCode.SERVICE_NOT_AVAILABLE, service_not_available(broker)
        case PutStatus.OS_PAGE_CACHE_BUSY:
            return ResponseCode.SYSTEM_BUSY, "[PC_SYNCHRONIZED]broker busy, start flow control for a while"
        case PutStatus.CREATE_MAPPED_FILE_FAILED:
            return ResponseCode.SYSTEM_ERROR, "create mapped file failed, server is busy or broken."
        case PutStatus.IN_SYNC_REPLICAS_NOT_ENOUGH:
            return ResponseCode.SYSTEM_ERROR, "in-sync replicas not enough"
        case _:
            return ResponseCode.SYSTEM_ERROR, "UNKNOWN_ERROR"


def message_illegal(broker: BrokerContext, reason: str = "") -> str:
    return (
        "the message is illegal, maybe msg body or properties length not matched. msg body length limit "
        f"{broker.config.max_message_size}B, msg properties length limit 32KB." + (f" Here: {reason}" if reason else "")
    )


def service_not_available(broker: BrokerContext) -> str:
    reason = broker.store.writable_reason()
    return (
        "service not available now. It may be caused by one of the following reasons: the broker's disk is full, messages are "
        "put to the slave, message store has been shut down, etc." + (f" Now: {reason}" if reason else "")
    )
