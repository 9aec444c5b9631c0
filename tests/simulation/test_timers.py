"""Many timers over an hour of virtual time; the full figure of a million is in docs/delayed-messages.md."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .timers import spread

COUNT = int(os.environ.get("GANTRY_TIMERS", "30000"))


@pytest.mark.timeout(600)
async def test_timers_spread_over_an_hour_come_in_their_second(tmp_path: Path) -> None:
    figures = await spread(str(tmp_path), COUNT)
    assert figures["timers"] == COUNT
    assert figures["latest, ms"] <= 1_000
