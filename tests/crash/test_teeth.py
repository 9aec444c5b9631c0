"""Brokers with a defect on purpose: the tests of this folder name each of them. And a canary that must always fail."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.cycles import defect_environment, run_cycles
from tests.crash.history import History
from tests.crash.loop_disk import LoopDisk
from tests.crash.test_clock_jumps import BACK, FORTH, JumpingBroker, run_and_compare
from tests.crash.test_clock_jumps import SETTINGS as JUMP_SETTINGS
from tests.crash.test_failed_sync import SETTINGS as FAILED_SYNC_SETTINGS
from tests.crash.test_failed_sync import ShimmedBroker, load_until_refused
from tests.crash.test_kill_loop import SETTINGS as KILL_SETTINGS
from tests.crash.test_kill_loop import KillLoop
from tests.crash.test_kill_transactions import SETTINGS as TRANSACTION_SETTINGS
from tests.crash.test_kill_transactions import Transactions
from tests.crash.test_power_cut import SETTINGS, PowerCutLoop
from tests.interop.cluster import ServerFailed

CUTS_MAX = 40
KILLS_MAX = 4
ROOT = Path(__file__).resolve().parents[2]


class DefectiveBroker(ShimmedBroker):
    """A broker with one of the defects."""

    defect = ""

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **defect_environment(self.defect)}


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("defect", "said"),
    [
        ("skip_sync", "acknowledged sends are not readable|could be read before|is damaged"),
        ("acknowledge_before_sync", "acknowledged sends are not readable"),
        ("show_before_sync", "could be read before, and the queue ends at"),
    ],
)
def test_power_cuts_tell(defect: str, said: str, disk: LoopDisk) -> None:
    broker = DefectiveBroker(disk.path / "broker", "", settings={**SETTINGS, "flushDiskType": "SYNC_FLUSH"})
    broker.defect = defect
    with pytest.raises((AssertionError, ServerFailed), match=said):
        run_cycles(PowerCutLoop(broker, disk, 1, sync=True), CUTS_MAX)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("defect", "said"),
    [
        ("tell_of_rollbacks_later", "transaction \\d+ ends twice"),
        ("commit_what_was_rolled_back", "there, and not committed|ends twice"),
    ],
)
def test_kills_tell_of_transactions(defect: str, said: str, tmp_path: Path) -> None:
    broker = DefectiveBroker(tmp_path, "", settings={**TRANSACTION_SETTINGS, "transactionOpBatchInterval": 60_000})
    broker.defect = defect
    with pytest.raises(AssertionError, match=said):
        run_cycles(Transactions(broker, 1), KILLS_MAX)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_failed_syncs_tell(disk: LoopDisk, shim: Path, tmp_path: Path) -> None:
    broker = DefectiveBroker(disk.path / "broker", "", settings=FAILED_SYNC_SETTINGS)
    broker.shim, broker.mark, broker.fail_at, broker.defect = shim, tmp_path / "failed", 20, "retry_failed_sync"
    try:
        broker.start()
        with pytest.raises(AssertionError, match="nobody is refused although a sync failed"):
            asyncio.run(load_until_refused(broker, disk, History()))
    finally:
        if broker.running:
            broker.kill()


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("defect", "said"),
    [
        ("cut_one_record_too_many", "acknowledged sends are not readable|could be read before"),
        ("give_an_offset_twice_after_a_recovery", "acknowledged sends are not readable|where [0-9]+ was due|but nothing from"),
    ],
)
def test_kills_tell(defect: str, said: str, tmp_path: Path) -> None:
    broker = DefectiveBroker(tmp_path, "", settings=KILL_SETTINGS)
    broker.defect = defect
    with pytest.raises((AssertionError, ServerFailed), match=said):
        run_cycles(KillLoop(broker, 1), KILLS_MAX)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("defect", "test", "said"),
    [
        (
            "give_an_offset_twice_after_an_abort",
            "tests/crash/test_store_power_cut.py::test_no_ok_is_a_lie_when_the_nth_operation_fails[28-pwrite]",
            "queue [0-9]: offset [0-9]+ is given twice",
        ),
    ],
)
def test_a_test_in_one_process_tells(defect: str, test: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", test],
        cwd=ROOT,
        env={**os.environ, **defect_environment(defect)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 1, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert re.search(said, done.stdout), done.stdout[-4000:]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("defect", "hours", "said"),
    [
        ("let_store_times_go_back", BACK, "store time goes back by"),
        ("lock_queues_by_the_wall_clock", FORTH, "a lock of 3000 ms was void after"),
        ("lock_queues_by_the_wall_clock", BACK, "a lock of 3000 ms is held after"),
        ("expire_clients_by_the_wall_clock", FORTH, "(producer|consumer) is known for [0-9]+ ms only, 11000 are due"),
        ("expire_clients_by_the_wall_clock", BACK, "(producer|consumer) is known still after"),
        ("hold_pulls_by_the_wall_clock", FORTH, "a pull is held for [0-9]+ ms only, 2000 are due"),
        ("hold_pulls_by_the_wall_clock", BACK, "a pull is held still after"),
    ],
)
def test_clock_jumps_tell(defect: str, hours: tuple[int, ...], said: str, clock_shim: Path, tmp_path: Path) -> None:
    broker = JumpingBroker(tmp_path, "", settings=JUMP_SETTINGS)
    broker.shim, broker.more_environment = clock_shim, defect_environment(defect)
    with pytest.raises(AssertionError, match=said):
        run_and_compare(broker, History(), hours)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the canary: should this ever pass, the checks check nothing")
def test_canary() -> None:
    told = History()
    told.begin(b"s0 0 lost")
    told.end(b"s0 0 lost", 0, (0, 0))
    told.check_queue(0, 0, [], kept=0, seed=0)
