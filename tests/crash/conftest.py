"""What several crash tests stand on: a file system that can lose its power, syncs that fail."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.loop_disk import LoopDisk, NoLoopDisk
from tests.interop.artifacts import MissingTool, server_jars

DISK_MIB = 512


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
    return compiled("failing_sync", tmp_path)


@pytest.fixture
def clock_shim(tmp_path: Path) -> Path:
    """What to preload, compiled from jumping_clock.c."""
    return compiled("jumping_clock", tmp_path)


def need_official_server() -> None:
    """Skips, with the reason, where the official servers cannot be had."""
    try:
        server_jars()
    except MissingTool as missing:
        pytest.skip(str(missing))


def compiled(name: str, folder: Path) -> Path:
    """A shared object from the C source of that name beside this file; skips where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("the shim is C and there is no compiler")
    source, target = Path(__file__).with_name(f"{name}.c"), folder / f"{name}.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(target), str(source), "-ldl"], check=True)
    return target
