"""Builds the load generator (C, one file) and runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from benchmarks.scenarios import Scenario

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 180
REFUSED_SHARE_MAX = 0.02
"""A broker under more load than it can take may refuse some sends (code 2); more than this share is no measurement."""


def build(folder: Path) -> Path:
    """The compiled generator in `folder`. Raises: as compiled()."""
    return compiled(HERE / "loadgen.c", folder)


def compiled(source: Path, folder: Path) -> Path:
    """A program of one C file, in `folder`.

    Raises: SystemExit that names what is missing when there is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or sysconfig.get_config_var("CC")
    if not compiler:
        raise SystemExit(f"{source.name} is C: install a C compiler (Debian: gcc libc6-dev)")
    target = folder / source.stem
    subprocess.run([compiler, "-O2", "-o", str(target), str(source)], check=True)
    return target


def run(
    program: Path,
    address: str,
    scenario: Scenario,
    topic: str,
    count: int,
    topics: int = 1,
    refused_share_max: float = REFUSED_SHARE_MAX,
) -> dict[str, Any]:
    """One run; the generator's own JSON line. With `topics`, sends go to that many: `topic` ends in 00000 then."""
    host, port = address.rsplit(":", 1)
    words = [
        str(program),
        host,
        port,
        scenario.mode,
        str(scenario.connections),
        str(scenario.window),
        str(scenario.body_bytes),
        str(scenario.batch),
        str(count),
        topic,
        str(scenario.queues),
        scenario.headers,
        *([str(topics)] if topics > 1 else []),
    ]
    paced_s = count / scenario.window if scenario.mode == "paced" else 0
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S + paced_s, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{scenario.name}: the generator ended with {done.returncode}: {done.stderr.strip()}")
    result: dict[str, Any] = json.loads(done.stdout)
    if result["errors"] > count * refused_share_max:
        raise RuntimeError(f"{scenario.name}: {result['errors']} answers were errors, the first: {result['first_error']}")
    return result
