"""What several crash tests stand on: a file system that can lose its power, syncs that fail."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.loop_disk import LoopDisk, NoLoopDisk

DISK_MIB = 512
SHIM_SOURCE = Path(__file__).with_name("failing_sync.c")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    """Skips where none can be mounted, with the reason."""
    try:
        made = LoopDisk(tmp_path, DISK_MIB)
    except NoLoopDisk as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """What to preload, compiled from failing_sync.c."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("the shim is C and there is no compiler")
    target = tmp_path / "failing_sync.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(target), str(SHIM_SOURCE), "-ldl"], check=True)
    return target
