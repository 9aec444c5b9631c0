"""The store answers at once when what is asked lies in memory, and later when it has to be read."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def settled(value: T | Awaitable[T]) -> T:
    """The value itself, whichever way it came."""
    if isinstance(value, Awaitable):
        return await value
    return value
