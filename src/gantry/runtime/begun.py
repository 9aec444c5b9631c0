"""Begins a coroutine at once: most of them have nothing to wait for, and need no task."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, TypeVar

_T = TypeVar("_T")


def begun(coroutine: Coroutine[Any, Any, _T]) -> _T | Awaitable[_T]:
    """Runs a coroutine up to its first wait. Returns: its result when it had none, otherwise an awaitable of it.

    The awaitable is to be awaited, once. Until it waits the coroutine runs inside the caller: it must not ask for the current
    task there. Raises: what the coroutine raises before it waits.
    """
    try:
        waits_for = coroutine.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    return _Rest(coroutine, waits_for)


class _Rest(Awaitable[_T]):
    """What is left of a coroutine that waits for something."""

    __slots__ = ("_coroutine", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, _T], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, _T]:
        coroutine, waits_for = self._coroutine, self._waits_for
        try:
            while True:
                try:
                    answer = yield waits_for
                except GeneratorExit:
                    raise
                except BaseException as error:
                    waits_for = coroutine.throw(error)
                else:
                    waits_for = coroutine.send(answer)
        except StopIteration as done:
            result: _T = done.value
            return result
        finally:
            coroutine.close()
