from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gantry.cli.ephemeral import remove_abandoned, remove_tree
from gantry.runtime.system_disk import SystemDisk


def directory(parent: Path, pid: int, *, lock: bool = True) -> Path:
    path = parent / f"gantry-{pid}-0123456789ab"
    (path / "commitlog").mkdir(parents=True)
    (path / "commitlog" / "0").write_bytes(b"x")
    if lock:
        (path / "lock").touch()
    return path


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    disk = SystemDisk()
    dead, mine = directory(tmp_path, dead_pid()), directory(tmp_path, os.getpid())
    other = tmp_path / "gantry-notes"
    other.mkdir()
    remove_abandoned(disk, str(tmp_path))
    assert not dead.exists()
    assert mine.exists()
    assert other.exists()
    disk.close()


def test_directory_whose_store_is_locked_stays_even_when_its_process_is_not_seen(tmp_path: Path) -> None:
    disk = SystemDisk()
    path = directory(tmp_path, dead_pid())
    lock = disk.lock(f"{path}/lock")
    remove_abandoned(disk, str(tmp_path))
    assert path.exists()
    lock.release()
    remove_abandoned(disk, str(tmp_path))
    assert not path.exists()
    disk.close()


def test_directory_that_is_just_being_made_stays(tmp_path: Path) -> None:
    disk = SystemDisk()
    path = directory(tmp_path, dead_pid(), lock=False)
    remove_abandoned(disk, str(tmp_path))
    assert path.exists()
    disk.close()


def test_removing_what_is_gone_is_fine(tmp_path: Path) -> None:
    disk = SystemDisk()
    remove_tree(disk, str(tmp_path / "never"))
    disk.close()
