"""Directories in memory-backed storage that do not outlive their process."""

from __future__ import annotations

import os
import tempfile

from gantry.runtime.disk import Disk
from gantry.runtime.rng import Rng

MEMORY_BACKED = "/dev/shm"


def make_ephemeral_dir(disk: Disk, rng: Rng) -> str:
    """A new directory in /dev/shm, or in the temporary directory where the system has no /dev/shm."""
    parent = MEMORY_BACKED if os.access(MEMORY_BACKED, os.W_OK) else tempfile.gettempdir()
    path = f"{parent}/gantry-{os.getpid()}-{rng.token(6).hex()}"
    disk.make_dirs(path)
    return path


def remove_tree(disk: Disk, path: str) -> None:
    """Remove a directory and all in it; one that is gone already is fine."""
    if not disk.exists(path):
        return
    for name in disk.list_dir(path):
        child = f"{path}/{name}"
        if disk.is_dir(child):
            remove_tree(disk, child)
        else:
            disk.unlink(child)
    disk.rmdir(path)
