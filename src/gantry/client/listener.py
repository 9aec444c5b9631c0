"""Running a user's listener: whatever it does becomes one of three outcomes."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gantry.model import MessageExt
from gantry.runtime.clock import Clock, wait_for

from .results import ConsumeResult, RetryLater

logger = logging.getLogger(__name__)

Listener = Callable[[list[MessageExt]], "Awaitable[ConsumeResult | None] | ConsumeResult | None"]
"""Gets one or more messages of one queue. An ordinary function runs on the event loop and must not block it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """ok: the messages are done. Otherwise they come again, after delay_level (concurrent) or suspend_ms (orderly)."""

    ok: bool
    delay_level: int = 0
    suspend_ms: int | None = None


DONE = Outcome(ok=True)
LATER = Outcome(ok=False)


async def call_listener(listener: Listener, messages: list[MessageExt], *, clock: Clock, timeout_ms: int) -> Outcome:
    """Run the listener; an asynchronous one that exceeds timeout_ms is cancelled. Never raises but for cancellation."""
    try:
        answer = listener(messages)
        if inspect.isawaitable(answer):
            answer = await wait_for(clock, answer, timeout_ms)
    except RetryLater as request:
        return Outcome(ok=False, delay_level=request.delay_level, suspend_ms=request.suspend_ms)
    except TimeoutError:
        logger.warning("listener did not finish %s within %d ms; the messages come again", _names(messages), timeout_ms)
        return LATER
    except Exception:
        logger.exception("listener failed on %s; the messages come again", _names(messages))
        return LATER
    if answer is None or answer is ConsumeResult.SUCCESS:
        return DONE
    if answer is ConsumeResult.RECONSUME_LATER:
        return LATER
    logger.error("listener returned %r; it must return None or a ConsumeResult. The messages come again", answer)
    return LATER


def _names(messages: list[MessageExt]) -> str:
    first = messages[0]
    more = f" and {len(messages) - 1} more" if len(messages) > 1 else ""
    return f"message {first.msg_id} of {first.topic} queue {first.queue_id} at {first.queue_offset}{more}"
