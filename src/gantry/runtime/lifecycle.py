"""Starting and stopping a server process: parts in order, signals, exit status."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from gantry.errors import MQError

from . import loop
from .logging_setup import boot_line, fail_line
from .open_files import raise_open_files_limit

log = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_FAILED = 255
"""The official servers leave with status -1, which the shell shows as 255, when they cannot start."""
EXIT_STOP_FAILED = 1

_SWITCH_S = 0.0005
"""Without the compiled core a thread that lays out the index holds the interpreter; the loop waits this long for it, not
5 ms."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class ExitWith(MQError):
    """End the process with this status; raised while starting."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class App(Protocol):
    """A server: everything runs between start() and stop()."""

    async def start(self) -> str | None:
        """Start; returns the line that says it is ready, or None. When it raises, stop() is not called."""

    async def stop(self) -> None:
        """Stop; returns when everything is flushed and closed."""


class _Part(msgspec.Struct, frozen=True):
    name: str
    start: Callable[[], Awaitable[object]] | None
    stop: Callable[[], Awaitable[object]] | None


class Lifecycle:
    """Parts that start in the order they were added and stop in reverse.

    When a part cannot start, those started before it are stopped, and its error travels on. While stopping, an error of
    one part does not keep the others from stopping.
    """

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._started: list[_Part] = []

    def add(
        self,
        name: str,
        *,
        start: Callable[[], Awaitable[object]] | None = None,
        stop: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._parts.append(_Part(name, start, stop))

    async def start(self) -> None:
        for part in self._parts:
            try:
                if part.start is not None:
                    await part.start()
            except BaseException:
                log.error("%s did not start", part.name)
                await self._stop_started()
                raise
            self._started.append(part)

    async def stop(self) -> None:
        """Raises: the first error of a part, after all of them were stopped."""
        error = await self._stop_started()
        if error is not None:
            raise error

    async def _stop_started(self) -> Exception | None:
        first: Exception | None = None
        while self._started:
            part = self._started.pop()
            if part.stop is None:
                continue
            try:
                await part.stop()
            except Exception as e:
                log.exception("%s did not stop cleanly", part.name)
                first = first or e
        return first


def run_app(make: Callable[[], App]) -> int:
    """Build and run a server until SIGTERM, SIGINT or SIGHUP; returns the exit status.

    Errors of the start end the process with their sentence on stderr, not with a trace back; a second signal while
    stopping ends it at once.
    """
    raise_open_files_limit()
    try:
        return loop.run(_run(make))
    except KeyboardInterrupt:
        return EXIT_STOP_FAILED


async def _run(make: Callable[[], App]) -> int:
    stopping = asyncio.Event()
    running = asyncio.get_running_loop()
    # What the parent had us ignore stays ignored: `nohup` means that the end of the terminal is no reason to stop.
    signals = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in signals:
        running.add_signal_handler(number, _on_signal, number, stopping)
    try:
        app = make()
        starting = asyncio.ensure_future(app.start())
        waiting = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
            # A signal during the start is obeyed once it is over: half a start has no orderly stop.
            ready = await starting
        finally:
            waiting.cancel()
    except ExitWith as e:
        fail_line(str(e))
        return e.status
    except MQError as e:
        fail_line(str(e))
        return EXIT_FAILED
    except Exception as e:
        log.exception("start failed")
        fail_line(f"start failed: {type(e).__name__}: {e}")
        return EXIT_FAILED
    if ready is not None:
        boot_line(ready)
    sys.setswitchinterval(_SWITCH_S)
    _spare_the_collector()
    await stopping.wait()
    for number in signals:
        running.remove_signal_handler(number)  # the next signal has its usual effect
    try:
        await app.stop()
    except Exception as e:
        log.exception("stop failed")
        fail_line(f"stop failed: {type(e).__name__}: {e}")
        return EXIT_STOP_FAILED
    log.info("stopped")
    return EXIT_OK


def _spare_the_collector() -> None:
    """What a start has made stays for life: the collector need not look through it again.

    Nor need it look at every 700 new objects, as a script's does: a queue's first message makes a dozen that stay, and with
    40,000 queues a fifth of the processor time went into looking through them.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _on_signal(number: int, stopping: asyncio.Event) -> None:
    log.info("%s: stopping", signal.Signals(number).name)
    stopping.set()
