"""Acknowledgements that came together are noted together.

Theory. A consumer acknowledges the messages of a pop one by one, and its requests arrive in one read. Each alone would be a
write to the journal and a write to the socket. So those of one turn of the loop are collected, noted with one write, and then
answered, a connection at a time. No answer leaves before its acknowledgement is noted.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gantry.errors import StoreError
from gantry.protocol.remoting.codes import ResponseCode

from .account import PopAccount
from .ledger import PopQueue

if TYPE_CHECKING:
    from gantry.runtime.channel import Channel
    from gantry.runtime.remoting_server import RequestContext

log = logging.getLogger(__name__)

ACKS_MAX = 4096
"""So many are noted at once, without waiting for the end of the turn."""


class AckTurn:
    """The acknowledgements of this turn of the loop."""

    def __init__(self, account: PopAccount) -> None:
        self._account = account
        self._acks: list[tuple[PopQueue, tuple[int, ...], int]] = []
        self._waiting: list[RequestContext] = []

    def add(self, ctx: RequestContext, queue: PopQueue, offset: int, pop_time: int) -> None:
        """An acknowledgement; `ctx` is answered when it is noted."""
        self._acks.append((queue, (offset,), pop_time))
        self._waiting.append(ctx)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._end)
        elif len(self._waiting) >= ACKS_MAX:
            self._end()

    def _end(self) -> None:
        acks, waiting = self._acks, self._waiting
        if not waiting:
            return
        self._acks, self._waiting = [], []
        code, remark = int(ResponseCode.SUCCESS), None
        try:
            self._account.ack_all(acks)
        except StoreError as error:
            log.error("%d acknowledgements are not noted: %s", len(acks), error)
            code, remark = int(ResponseCode.SERVICE_NOT_AVAILABLE), str(error)
        except Exception as error:
            log.exception("%d acknowledgements failed", len(acks))
            code, remark = int(ResponseCode.SYSTEM_ERROR), f"{type(error).__name__}: {error}"
        corked: dict[int, Channel] = {}
        try:
            for ctx in waiting:
                channel = ctx.channel
                if channel.id not in corked:
                    corked[channel.id] = channel
                    channel.cork()
                ctx.reply_later(ctx.request.reply(code, remark))
        finally:
            for channel in corked.values():
                channel.uncork()
