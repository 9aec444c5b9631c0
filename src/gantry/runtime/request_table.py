"""Request code -> header schema -> handler, and how a request is served by it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import msgspec

from gantry.errors import BrokerError, HeaderFieldError, MQError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand

from .channel import Channel, encode_or_explain
from .clock import Clock
from .remoting_limits import RemotingLimits

log = logging.getLogger(__name__)

GO_AWAY_VERSION_MIN = 476
"""From this version on a requester understands GO_AWAY. Source: NettyRemotingAbstract.processRequestCommand (5.3)."""

_REMARK_CHARS_MAX = 2048


class RequestContext:
    """One request being served."""

    __slots__ = ("_answered", "_limits", "_observer", "channel", "clock", "received_ms", "request", "suspended")

    def __init__(
        self,
        channel: Channel,
        request: RemotingCommand,
        clock: Clock,
        received_ms: int,
        limits: RemotingLimits,
        observer: Observer | None = None,
    ) -> None:
        self.channel = channel
        self.request = request
        self.clock = clock
        self.received_ms = received_ms
        """Monotonic ms at which the request was read from the connection."""
        self.suspended = False
        """It has waited for something to come (long polling)."""
        self._limits = limits
        self._observer = observer
        self._answered = False

    def now_ms(self) -> int:
        """Wall clock, ms since 1970 UTC."""
        return self.clock.now_ms()

    @property
    def answered(self) -> bool:
        return self._answered

    def reply_later(self, response: RemotingCommand) -> None:
        """Answer a request whose handler returned None. Oneway requests and closed connections get nothing.

        A second answer to the same request is dropped and logged: the requester would match it to another one.
        """
        if not self._first_answer():
            return
        if self._observer is not None:
            self._observer(self, response.code)
        if self.request.is_oneway or self.channel.closed:
            return
        response.opaque = self.request.opaque
        if response.remark is not None and len(response.remark) > _REMARK_CHARS_MAX:
            # It repeats what the request said, and that may be a quarter of a megabyte.
            response.remark = response.remark[:_REMARK_CHARS_MAX]
        self.channel.write(encode_or_explain(response, self._limits))

    def reply_encoded(self, frame: bytes) -> None:
        """As reply_later, for an answer that is a whole frame already, with the request's opaque in it."""
        if self._first_answer():
            if self._observer is not None:
                self._observer(self, ResponseCode.SUCCESS)
            if not self.request.is_oneway:
                self.channel.write(frame)

    def _first_answer(self) -> bool:
        if self._answered:
            log.error("request %d, code %d, was answered twice", self.request.opaque, self.request.code)
            return False
        self._answered = True
        return True


Answer = RemotingCommand | None
Observer = Callable[[RequestContext, int], None]
"""Told of each answer with its response code, before it is written."""

Handler = Callable[[RequestContext, RemotingCommand, Any], Answer | Awaitable[Answer]]


class RequestRow(msgspec.Struct, frozen=True):
    """One request that is answered; `header` has a classmethod decode(ext_fields), or is None."""

    code: int
    header: Any
    handler: Handler


class RequestTable:
    """The requests one port answers. A handler returns the answer, an awaitable of it, or None: nothing is sent then,
    and `RequestContext.reply_later` may answer at any later time.

    `add_rest` adds the rows that are not there from the beginning; it is called once: by complete(), by the first code
    without a row, or when somebody looks at the table as a whole.
    """

    def __init__(self, add_rest: Callable[[], None] | None = None) -> None:
        self._rows: dict[int, RequestRow] = {}
        self._add_rest = add_rest
        self.default: RequestRow | None = None
        """Serves the codes without a row; without it they are answered REQUEST_CODE_NOT_SUPPORTED."""

    def add(self, code: int, header: Any, handler: Handler) -> None:
        """Raises: ValueError when the code has a row already."""
        if int(code) in self._rows:
            raise ValueError(f"request code {int(code)} has two handlers")
        self._rows[int(code)] = RequestRow(int(code), header, handler)

    def lookup(self, code: int) -> RequestRow | None:
        row = self._rows.get(code)
        return row if row is not None else self.complete().get(code, self.default)

    def __contains__(self, code: int) -> bool:
        return int(code) in self.complete()

    def __iter__(self) -> Iterator[RequestRow]:
        return iter(self.complete().values())

    def __len__(self) -> int:
        return len(self.complete())

    def complete(self) -> Mapping[int, RequestRow]:
        """All rows by code, those included that were left for later."""
        if self._add_rest is not None:
            add_rest, self._add_rest = self._add_rest, None
            add_rest()
        return self._rows


class RequestDispatcher:
    """Serves requests by a table.

    Requests of a connection are served side by side; a handler that returns its answer at once costs no task. Work that
    has begun is finished even when the requester closes its connection: a oneway request may come right before that.
    """

    def __init__(self, table: RequestTable, clock: Clock, limits: RemotingLimits) -> None:
        self.table = table
        self.draining = False
        """Answer GO_AWAY: this end is about to stop."""
        self.observer: Observer | None = None
        self._clock = clock
        self._limits = limits
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running_count(self) -> int:
        return len(self._tasks)

    def serve(self, channel: Channel, request: RemotingCommand, received_ms: int) -> None:
        ctx = RequestContext(channel, request, self._clock, received_ms, self._limits, self.observer)
        row = self.table.lookup(request.code)
        if row is None:
            log.warning("%s asks for request code %d, which is not supported", channel.remote_address, request.code)
            ctx.reply_later(
                request.reply(ResponseCode.REQUEST_CODE_NOT_SUPPORTED, f" request type {request.code} not supported")
            )
            return
        if self.draining and request.version >= GO_AWAY_VERSION_MIN:
            ctx.reply_later(request.reply(ResponseCode.GO_AWAY, "please go away"))
            return
        if channel.overloaded:
            ctx.reply_later(request.reply(ResponseCode.SYSTEM_BUSY, "[OVERLOAD]system busy, start flow control for a while"))
            return
        try:
            header = row.header.decode(request.ext_fields) if row.header is not None else None
            result = row.handler(ctx, request, header)
        except Exception as e:
            ctx.reply_later(_failure(request, channel, e))
            return
        if result is None:
            return
        if isinstance(result, RemotingCommand):
            ctx.reply_later(result)
            return
        size = len(request.body)
        channel.begin_request(size)
        task = asyncio.get_running_loop().create_task(self._finish(ctx, result, size))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, ctx: RequestContext, awaitable: Awaitable[Answer], size: int) -> None:
        try:
            response = await awaitable
        except Exception as e:
            response = _failure(ctx.request, ctx.channel, e)
        finally:
            ctx.channel.end_request(size)
        if response is not None:
            ctx.reply_later(response)

    async def stop(self, grace_ms: float) -> None:
        """Let running handlers end for `grace_ms`, then cancel them; returns when none is left."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        if not tasks:
            return
        timer = self._clock.call_later(grace_ms, lambda: [task.cancel() for task in tasks])
        await asyncio.gather(*tasks, return_exceptions=True)
        timer.cancel()


def _failure(request: RemotingCommand, channel: Channel, error: Exception) -> RemotingCommand:
    if isinstance(error, BrokerError):
        return request.reply(error.response_code, error.remark)
    if isinstance(error, HeaderFieldError):
        log.warning("request code %d from %s: %s", request.code, channel.remote_address, error)
        return request.reply(ResponseCode.SYSTEM_ERROR, str(error))
    if isinstance(error, MQError):
        log.error("request code %d from %s failed: %s", request.code, channel.remote_address, error)
        return request.reply(ResponseCode.SYSTEM_ERROR, str(error))
    log.error("request code %d from %s failed", request.code, channel.remote_address, exc_info=error)
    return request.reply(ResponseCode.SYSTEM_ERROR, f"{type(error).__name__}: {error}")
