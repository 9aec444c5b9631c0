"""Directories in memory-backed storage that do not outlive their process."""

from __future__ import annotations

import os
import re

from gantry.errors import StoreError
from gantry.runtime.disk import Disk
from gantry.runtime.rng import Rng

MEMORY_BACKED = "/dev/shm"
_NAME = re.compile(r"gantry-([0-9]+)-[0-9a-f]{12}")


def make_ephemeral_dir(disk: Disk, rng: Rng) -> str:
    """A new directory in /dev/shm, or in the temporary directory where the system has no /dev/shm.

    What killed processes left there is removed: it would take memory until the next boot.
    """
    if os.access(MEMORY_BACKED, os.W_OK):
        parent = MEMORY_BACKED
    else:
        import tempfile

        parent = tempfile.gettempdir()
    remove_abandoned(disk, parent)
    path = f"{parent}/gantry-{os.getpid()}-{rng.token(6).hex()}"
    disk.make_dirs(path)
    return path


def remove_abandoned(disk: Disk, parent: str) -> None:
    """Remove the ephemeral directories in parent whose process is gone.

    A process may be out of our sight (another container that shares the directory), so the lock of the store decides as well.
    """
    if not disk.is_dir(parent):
        return
    for name in disk.list_dir(parent):
        found = _NAME.fullmatch(name)
        if found is None or _is_running(int(found.group(1))):
            continue
        path = f"{parent}/{name}"
        lock_path = f"{path}/lock"
        try:
            if disk.exists(lock_path):
                disk.lock(lock_path).release()
                remove_tree(disk, path)
        except StoreError:
            continue  # somebody holds it, or another process removes it at this moment


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False
    except PermissionError:
        return True
    return True


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
