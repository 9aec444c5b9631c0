"""What all tests share: the run header names the core in use, and a skip is a failure where none is allowed."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

from gantry import __version__
from gantry._core import ACCEL

REQUIRED = os.environ.get("GANTRY_REQUIRE_INTEROP") == "1"

# A run in the background (`&`, nohup, some CI) ignores these, and the servers under test would inherit that.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

# No deadline for one example: on a shared machine the clock says more about the neighbours than about the code.
# In CI the examples are the same for the same code, so that a change is judged by itself; elsewhere they are new each time.
settings.register_profile("gantry", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("gantry")


def pytest_report_header() -> str:
    return f"gantry {__version__}, core: {ACCEL}" + (", interop required" if REQUIRED else "")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With GANTRY_REQUIRE_INTEROP=1 a missing toolchain or missing rights fail the test instead of hiding it."""
    report = yield
    wanted = item.get_closest_marker("interop") or item.get_closest_marker("root")
    if REQUIRED and wanted and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but GANTRY_REQUIRE_INTEROP=1: {reason}"
    return report
