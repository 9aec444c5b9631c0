"""Reads of what the page cache holds; `_cached_read_c.pyx` is the compiled twin."""

from __future__ import annotations

import os

_RWF_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


def read_cached(fd: int, length: int, offset: int) -> bytes | None:
    """Bytes of a file, as far as the page cache has all of them; None when it does not. Raises: OSError."""
    buffer = bytearray(length)
    try:
        done = os.preadv(fd, [buffer], offset, _RWF_NOWAIT)
    except BlockingIOError:
        return None
    return bytes(buffer) if done == length else None
