"""Brokers with a defect on purpose: the tests of this folder name each of them. And a canary that must always fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.crash.history import History
from tests.crash.loop_disk import LoopDisk
from tests.crash.test_failed_sync import SETTINGS as FAILED_SYNC_SETTINGS
from tests.crash.test_failed_sync import ShimmedBroker, load_until_refused
from tests.crash.test_power_cut import SETTINGS, PowerCutLoop
from tests.interop.cluster import GantryBroker, ServerFailed

CUTS_MAX = 40
DEFECTS = Path(__file__).parent / "defects"


class DefectiveBroker(ShimmedBroker):
    """A broker with one of the defects in `defects/sitecustomize.py`."""

    defect = ""

    def environment(self) -> dict[str, str]:
        own = {"PYTHONPATH": str(DEFECTS), "GANTRY_TEST_DEFECT": self.defect, "GANTRY_CORE": "python"}
        return {**super().environment(), **own}


def cut_until_told(broker: GantryBroker, disk: LoopDisk) -> None:
    loop = PowerCutLoop(broker, disk, 1, sync=True)
    try:
        broker.start()
        for _ in range(CUTS_MAX):
            loop.cycle()
    finally:
        if broker.running:
            broker.kill()


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
        cut_until_told(broker, disk)


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


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the canary: should this ever pass, the checks check nothing")
def test_canary() -> None:
    told = History()
    told.begin(b"s0 0 lost")
    told.end(b"s0 0 lost", 0, (0, 0))
    told.check_queue(0, 0, [], kept=0, seed=0)
