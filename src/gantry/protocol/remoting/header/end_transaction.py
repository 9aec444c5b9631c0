"""Header of END_TRANSACTION (37)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class EndTransactionRequestHeader(RequestHeader, code=RequestCode.END_TRANSACTION):
    """The outcome of a half message: 8 commit, 12 rollback, 0 unknown."""

    topic: str | None = wire("topic", default=None)
    producer_group: str = wire("producerGroup")
    tran_state_table_offset: int = wire("tranStateTableOffset")
    commit_log_offset: int = wire("commitLogOffset")
    commit_or_rollback: int = wire("commitOrRollback", bits=32)
    from_transaction_check: bool | None = wire("fromTransactionCheck", default=None)
    msg_id: str = wire("msgId")
    transaction_id: str | None = wire("transactionId", default=None)
