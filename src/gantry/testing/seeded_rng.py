"""Randomness that a seed repeats."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class SeededRng:
    """Implements the Rng door; the same seed gives the same choices."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._random = random.Random(seed)

    def __repr__(self) -> str:
        return f"SeededRng({self.seed})"

    def randrange(self, n: int) -> int:
        return self._random.randrange(n)

    def random(self) -> float:
        return self._random.random()

    def choice(self, items: Sequence[T]) -> T:
        return items[self._random.randrange(len(items))]

    def token(self, n: int) -> bytes:
        return self._random.randbytes(n)

    def fork(self, name: str) -> SeededRng:
        """An independent sequence that depends on this seed and the name only: drawing from one part of a simulation
        does not shift the choices of another."""
        return SeededRng(zlib.crc32(name.encode(), self.seed & 0xFFFF_FFFF) ^ (self.seed << 32))
