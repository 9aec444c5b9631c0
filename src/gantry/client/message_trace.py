"""Sends the traces of a producer or consumer to the trace topic, in the background and in few messages.

Traces are news, not data: when they cannot be sent they are dropped with a line in the log, and nothing waits for them.
Source: AsyncTraceDispatcher, SendMessageTraceHookImpl, ConsumeMessageTraceHookImpl (5.3).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from gantry.errors import MQError
from gantry.model import Message, MessageExt, message_const
from gantry.model.message_type import DELAY, FIFO, TRANSACTION, message_type
from gantry.protocol.message.trace import ConsumeReturnType, Trace, TraceKind, TraceMessageType
from gantry.runtime.clock import Clock

from .listener import Listener
from .results import ConsumeResult, RetryLater, SendResult, SendStatus

logger = logging.getLogger(__name__)

PENDING_MAX = 2_048
BATCH_COUNT = 10
BATCH_CHARS_MAX = 128_000
FLUSH_MS = 1_000

_TYPES = {TRANSACTION: TraceMessageType.TRANSACTION_HALF, DELAY: TraceMessageType.DELAY, FIFO: TraceMessageType.ORDER}


class MessageTraces:
    """The traces of one client. `send` puts one message to the trace topic and waits for it. Raises: MQError."""

    def __init__(self, group: str, topic: str, clock: Clock, send: Callable[[Message], Awaitable[object]]) -> None:
        self._group = group
        self._topic = topic
        self._clock = clock
        self._send = send
        self._pending: deque[Trace] = deque()
        self._dropped = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        self._stopping = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="gantry-message-traces")

    async def stop(self) -> None:
        """Sends what is left."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task

    # -- what happened

    def sent(self, message: Message, message_id: str, result: SendResult, *, address: str, began_ms: int) -> None:
        """A send was answered. The broker may not want to hear of it."""
        if not result.trace_on or result.region_id is None or message.topic == self._topic:
            return
        self.append(
            Trace(
                TraceKind.PUB,
                message_id,
                began_ms,
                result.region_id,
                self._group,
                message.topic,
                message.tags or "",
                message.keys or "",
                address,
                len(message.body),
                self._clock.now_ms() - began_ms,
                _TYPES.get(message_type(message.properties), TraceMessageType.NORMAL),
                result.offset_message_id,
                result.status is SendStatus.SEND_OK,
            )
        )

    def recalled(self, topic: str, message_id: str) -> None:
        self.append(Trace(TraceKind.RECALL, message_id, self._clock.now_ms(), "", self._group, topic))

    def ended(self, message: Message, message_id: str, *, address: str, transaction_id: str, state: str, checked: bool) -> None:
        """A transaction was ended, by its sender or on being asked."""
        self.append(
            Trace(
                TraceKind.END_TRANSACTION,
                message_id,
                self._clock.now_ms(),
                "",
                self._group,
                message.topic,
                message.tags or "",
                message.keys or "",
                address,
                message_type=TraceMessageType.TRANSACTION_COMMIT,
                transaction_id=transaction_id,
                transaction_state=state,
                from_check=checked,
            )
        )

    def listener(self, inner: Listener, request_id: Callable[[], str]) -> Listener:
        """The same listener, with a trace before and after each call."""

        async def traced(messages: list[MessageExt]) -> ConsumeResult | None:
            told = [message for message in messages if message.properties.get(message_const.TRACE_SWITCH) != "false"]
            number, began_ms = request_id(), self._clock.now_ms()
            for message in told:
                self.append(
                    Trace(
                        TraceKind.SUB_BEFORE,
                        message.msg_id,
                        began_ms,
                        message.properties.get(message_const.MSG_REGION, ""),
                        self._group,
                        keys=message.keys or "",
                        request_id=number,
                        retry_times=message.reconsume_times,
                    )
                )
            code = ConsumeReturnType.EXCEPTION
            try:
                answer = inner(messages)
                result = await answer if inspect.isawaitable(answer) else answer
                good = result is None or result is ConsumeResult.SUCCESS
                code = ConsumeReturnType.SUCCESS if good else ConsumeReturnType.FAILED
            except RetryLater:
                code = ConsumeReturnType.FAILED
                raise
            except asyncio.CancelledError:
                code = ConsumeReturnType.TIME_OUT
                raise
            else:
                return result
            finally:
                cost_ms = (self._clock.now_ms() - began_ms) // max(len(messages), 1)
                for message in told:
                    self.append(
                        Trace(
                            TraceKind.SUB_AFTER,
                            message.msg_id,
                            self._clock.now_ms(),
                            group=self._group,
                            keys=message.keys or "",
                            cost_ms=cost_ms,
                            success=code is ConsumeReturnType.SUCCESS,
                            request_id=number,
                            context_code=code,
                        )
                    )

        return traced

    # -- on their way

    def append(self, trace: Trace) -> None:
        if len(self._pending) >= PENDING_MAX:
            self._dropped += 1
            return
        self._pending.append(trace)
        if len(self._pending) >= BATCH_COUNT:
            self._wake.set()

    async def _run(self) -> None:
        while not self._stopping or self._pending:
            if not self._stopping and len(self._pending) < BATCH_COUNT:
                timer = self._clock.call_later(FLUSH_MS, self._wake.set)
                await self._wake.wait()
                timer.cancel()
            self._wake.clear()
            if self._pending:
                await self._flush()

    def _next_batch(self) -> tuple[Message, int]:
        """Entries that travel together, and how many they are: of one topic, as the original groups them."""
        topic, keys, texts, size = self._pending[0].topic, dict[str, None](), list[str](), 0
        while self._pending and self._pending[0].topic == topic and size < BATCH_CHARS_MAX:
            trace = self._pending.popleft()
            keys.update(dict.fromkeys(filter(None, trace.all_keys())))
            texts.append(trace.encode())
            size += len(texts[-1])
        return Message.of(self._topic, "".join(texts).encode(), keys=list(keys)), len(texts)

    async def _flush(self) -> None:
        message, count = self._next_batch()
        try:
            await self._send(message)
        except MQError as error:
            logger.warning("%d traces are lost, topic %s does not take them: %s", count, self._topic, error)
        if self._dropped:
            logger.warning("%d traces are lost, they came faster than topic %s takes them", self._dropped, self._topic)
            self._dropped = 0
