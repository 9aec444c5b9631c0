"""The randomness door: every choice by chance goes through it, so that a seed can repeat a run."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Rng(Protocol):
    """Choices by chance."""

    def randrange(self, n: int) -> int:
        """One of 0 .. n-1, all alike; n >= 1."""

    def random(self) -> float:
        """A float in [0, 1)."""

    def choice(self, items: Sequence[T]) -> T:
        """One of the items, all alike; there must be at least one."""

    def token(self, n: int) -> bytes:
        """`n` bytes that nobody outside can guess (unless a seed was given, which only tests do)."""


class SystemRng:
    """The machine's randomness; with a seed, a repeatable sequence (tests, simulator)."""

    __slots__ = ("_random", "seed")

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self._random = random.Random(seed)

    def randrange(self, n: int) -> int:
        return self._random.randrange(n)

    def random(self) -> float:
        return self._random.random()

    def choice(self, items: Sequence[T]) -> T:
        return items[self._random.randrange(len(items))]

    def token(self, n: int) -> bytes:
        if self.seed is None:
            return secrets.token_bytes(n)
        return self._random.randbytes(n)
