"""Makes the oldest files of a log due to go, and waits until they have gone."""

from __future__ import annotations

import os
import time
from pathlib import Path

from gantry.runtime.system_disk import SystemDisk
from gantry.store.inspect import iterate_log
from tests.crash.load import QUEUES, TOPIC

LOG_FILES_KEPT = 4


def age_all_but_the_newest(store: Path, kept: dict[int, int]) -> list[Path]:
    """Makes retention's rule (fileReservedTime, one hour) hold for all log files but the newest ones; returns those.

    `kept` gets, per queue, the offset from which on nothing is due to go.
    """
    files = log_files(store)
    expired = files[:-LOG_FILES_KEPT]
    if expired:
        kept.update(first_offsets(files[-LOG_FILES_KEPT:]))
        two_hours_ago = time.time() - 2 * 3600
        for path in expired:
            os.utime(path, (two_hours_ago, two_hours_ago))
    return expired


def first_offsets(files: list[Path]) -> dict[int, int]:
    """Per queue: the lowest offset of a message in these files of the log."""
    found: dict[int, int] = {}
    for path in files:
        for item in iterate_log(SystemDisk(), str(path)):
            if item.record is not None and item.record.topic == TOPIC:
                found.setdefault(item.record.queue_id, item.record.queue_offset)
        if len(found) == QUEUES:
            break
    return found


def log_files(store: Path) -> list[Path]:
    return sorted((store / "commitlog").iterdir())


def wait_for_retention(expired: list[Path]) -> None:
    """Returns when these files are gone: the broker deletes while this loop looks."""
    limit = time.monotonic() + 30
    while left := [path.name for path in expired if path.exists()]:
        assert time.monotonic() < limit, f"retention left {left}, which expired two hours ago"
        time.sleep(0.02)
