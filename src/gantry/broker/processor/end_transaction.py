"""END_TRANSACTION: a producer says how its transaction ended."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, DiskFull, MessageIllegal, StoreError
from gantry.model import sys_flag
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.end_transaction import EndTransactionRequestHeader
from gantry.runtime.begun import begun
from gantry.runtime.remoting_server import RequestContext
from gantry.store import PutStatus

from ..transaction.check import comes_too_late
from ..transaction.endings import NOT_FOUND, SERVICE_NOT_AVAILABLE
from ..transaction.half_message import Half
from . import put_answer

if TYPE_CHECKING:
    from ..context import BrokerContext

log = logging.getLogger(__name__)


class EndTransactionProcessor:
    """Commits or rolls back a half message; an end of unknown outcome is taken note of and not answered.

    Producers send this one-way, as a rule. Source: EndTransactionProcessor (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: EndTransactionRequestHeader
    ) -> RemotingCommand | Awaitable[RemotingCommand | None] | None:
        # Half messages are young as a rule, and in memory: nothing waits, and answers leave in one write.
        return begun(self._end(ctx, request, header))

    async def _end(
        self, ctx: RequestContext, request: RemotingCommand, header: EndTransactionRequestHeader
    ) -> RemotingCommand | None:
        broker = self._broker
        if broker.config.is_slave:
            return request.reply(ResponseCode.SLAVE_NOT_AVAILABLE)
        outcome = header.commit_or_rollback
        if outcome not in (sys_flag.TRANSACTION_COMMIT, sys_flag.TRANSACTION_ROLLBACK):
            log.info(
                "producer %s leaves half message %s of group %s pending",
                ctx.channel.remote_address, header.msg_id, header.producer_group,
            )  # fmt: skip
            return None
        try:
            half = await self._half(header)
            if self._comes_too_late(half, header):
                return request.reply(ResponseCode.ILLEGAL_OPERATION)
            self._check_place(half, header)
            if outcome == sys_flag.TRANSACTION_COMMIT:
                if broker.replicas.too_few:
                    raise BrokerError(*put_answer.refusal(PutStatus.IN_SYNC_REPLICAS_NOT_ENOUGH, broker))
                status = await broker.transactions.endings.commit(half)
            else:
                status = await broker.transactions.endings.rollback(half)
        except MessageIllegal:
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, put_answer.message_illegal(broker)) from None
        except StoreError as error:
            if not isinstance(error, DiskFull):
                log.error("half message %s is not ended: %s", header.msg_id, error)
            raise BrokerError(ResponseCode.SERVICE_NOT_AVAILABLE, SERVICE_NOT_AVAILABLE) from error
        return request.reply(put_answer.STORED_CODES[status])

    async def _half(self, header: EndTransactionRequestHeader) -> Half:
        """The message that is to be ended. Raises: BrokerError, StoreError."""
        half = await self._broker.transactions.find(header.commit_log_offset)
        if half is None:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, NOT_FOUND)
        return half

    def _comes_too_late(self, half: Half, header: EndTransactionRequestHeader) -> bool:
        broker = self._broker
        timeout_ms = broker.config.transaction_time_out
        if header.from_transaction_check or not comes_too_late(half, now_ms=broker.clock.now_ms(), timeout_ms=timeout_ms):
            return False
        log.warning("half message %s is ended too late by its producer, its check decides", half.unique_key)
        return True

    @staticmethod
    def _check_place(half: Half, header: EndTransactionRequestHeader) -> None:
        """The sender names the half it means by group and both places. Raises: BrokerError."""
        if half.producer_group != header.producer_group:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, "The producer group wrong")
        if half.view.queue_offset != header.tran_state_table_offset:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, "The transaction state table offset wrong")
        if half.view.physical_offset != header.commit_log_offset:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, "The commit log offset wrong")
