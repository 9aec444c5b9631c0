"""What loops over a broker's deaths have in common, and how a broker gets a defect on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tests.interop.cluster import AnyBroker

DEFECTS = Path(__file__).parent / "defects"


class Loop(Protocol):
    broker: AnyBroker

    def cycle(self) -> None:
        """From a broker that runs to one that runs again. Raises: AssertionError when something is wrong."""


def run_cycles(loop: Loop, count: int) -> None:
    """Starts the broker and goes round so often; it is gone afterwards."""
    try:
        loop.broker.start()
        for _ in range(count):
            loop.cycle()
    finally:
        if loop.broker.running:
            loop.broker.kill()


def defect_environment(defect: str) -> dict[str, str]:
    """Of a process with one of the defects in `defects/sitecustomize.py`; on the pure core: compiled classes cannot be made
    wrong from outside."""
    return {"PYTHONPATH": str(DEFECTS), "GANTRY_TEST_DEFECT": defect, "GANTRY_CORE": "python"}
