"""Seeded runs of a whole cluster on virtual time; a failure prints its seed and the command that repeats it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.cycles import defect_environment
from tests.crash.record import record

ROOT = Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("GANTRY_SIMULATED_SEEDS", "4"))
FIRST_SEED = int(os.environ.get("GANTRY_SIMULATED_FIRST", "1"))
MINUTES = float(os.environ.get("GANTRY_SIMULATED_MINUTES", "2"))
DONE = re.compile(r"(\d+) acknowledged, (\d+) unknown, (\d+) lost.*; trace ([0-9a-f]{16})")


def simulate(seed: int, flush: str, minutes: float, **environment: str) -> re.Match[str]:
    """One run in a process of its own, whose hash seed is fixed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--flush", flush, "--minutes", f"{minutes:g}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0", **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-4000:]}"
    print(done.stdout.strip())
    found = DONE.search(done.stdout)
    assert found is not None, done.stdout
    return found


@pytest.mark.slow
@pytest.mark.timeout(620)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_promises_hold_under_faults(seed: int) -> None:
    flush = "ASYNC_FLUSH" if seed % 3 == 0 else "SYNC_FLUSH"
    found = simulate(seed, flush, MINUTES)
    acknowledged, lost = int(found[1]), int(found[3])
    assert acknowledged > 50 * MINUTES
    if flush == "SYNC_FLUSH":
        assert lost == 0
    record("simulated minutes", flush=flush, times=int(MINUTES), acknowledged=acknowledged, lost=lost, seed=seed)


@pytest.mark.slow
@pytest.mark.timeout(620)
@pytest.mark.parametrize(
    ("defect", "seed", "said"),
    [
        ("acknowledge_before_sync", 1, "C1|C14|POP|acknowledged sends are not readable"),
        ("cut_one_record_too_many", 5, "C6|C11|C14|POP|could be read before|offset \\d+ was "),
        ("wait_by_the_wall_clock", 5, "C9|C14"),
        ("show_a_half_at_once", 1, "C8: .* (came before it was committed|was rolled back and came)"),
        ("answer_a_commit_before_it_is_stored", 1, "C8: .* was committed and acknowledged, and never came"),
        ("drop_a_half_after_its_last_check", 1, "C8: .* is dropped"),
        ("check_without_end", 1, "C8: .* is checked for the 16th time"),
        ("begin_behind_the_halves_that_are_open", 1, "C8: .* is dropped"),
        ("commit_what_was_rolled_back", 1, "C8: .* was rolled back and came"),
    ],
)
def test_it_tells_a_defect(defect: str, seed: int, said: str) -> None:
    """Of those in tests/crash/defects."""
    with pytest.raises(AssertionError, match=said):
        simulate(seed, "SYNC_FLUSH", 10, **defect_environment(defect))


@pytest.mark.slow
@pytest.mark.timeout(620)
def test_the_same_seed_gives_the_same_trace_on_either_core() -> None:
    hashes = [simulate(11, "SYNC_FLUSH", 1, GANTRY_CORE=core)[4] for core in ("auto", "auto", "python")]
    assert len(set(hashes)) == 1, hashes
