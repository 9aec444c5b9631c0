"""The machine that measures: what it is, and how it is brought into the state of one that has been up for a while."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path

_READ_BYTES = 4 << 20
_LEFT_FREE = 256 << 20


def about() -> str:
    """Processor, how many of them, kernel."""
    return f"{platform.machine()}, {os.cpu_count()} processors, {platform.system()} {platform.release()}"


def free_bytes() -> int:
    """Memory that nobody uses, not even the page cache; 0 where /proc does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemFree:")), 0)


def fill_page_cache(folder: Path) -> int:
    """Reads a sparse file in `folder` until the page cache has all free memory; returns how many bytes that were.

    A virtual machine gets its memory from its host page by page, when a page is touched first, and gives back what is
    free: 5 to 10 us a page, several times what a broker does for the messages in it. On a machine that has been up for a
    while new pages of the cache are old ones of something else, which cost nothing of that kind. The file must stay as
    long as that is to hold.
    """
    size = max(free_bytes() - _LEFT_FREE, 0)
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0, delete=False) as file:
        file.truncate(size)
        buffer = bytearray(_READ_BYTES)
        while file.readinto(buffer):
            pass
    return size
