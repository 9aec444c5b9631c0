"""The hash that stands for a tag in a consume queue entry and in a subscription's code set."""

from __future__ import annotations

from functools import lru_cache

from gantry._core import java_string_hash


@lru_cache(maxsize=4096)
def tags_code(tags: str) -> int:
    """Hash stored in a consume queue entry for tag filtering.

    Shape:  Java String.hashCode over UTF-16 units, as a signed 32-bit value widened to 64; "" gives 0.
    Source: MessageExtBrokerInner.tagsString2tagsCode (5.3).
    """
    return java_string_hash(tags)
