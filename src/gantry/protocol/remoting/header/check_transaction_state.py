"""Header of CHECK_TRANSACTION_STATE (39)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class CheckTransactionStateRequestHeader(RequestHeader, code=RequestCode.CHECK_TRANSACTION_STATE):
    """Ask a producer for the outcome of a half message."""

    topic: str | None = wire("topic", default=None)
    tran_state_table_offset: int = wire("tranStateTableOffset")
    commit_log_offset: int = wire("commitLogOffset")
    msg_id: str | None = wire("msgId", default=None)
    transaction_id: str | None = wire("transactionId", default=None)
    offset_msg_id: str | None = wire("offsetMsgId", default=None)
