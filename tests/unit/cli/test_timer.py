"""Times that `gantry timer` takes, and what it says of changes."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from gantry.admin import BrokerChange
from gantry.cli.timer import change_text, command, parse_time
from gantry.protocol.remoting.body.timers import PendingTimer, TimerChange

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1700000000000", 1_700_000_000_000),
        ("+90s", NOW_MS + 90_000),
        ("+250ms", NOW_MS + 250),
        ("+2d", NOW_MS + 172_800_000),
        ("2026-11-28T10:00:00+00:00", 1_795_860_000_000),
    ],
)
def test_times(text: str, wanted: int) -> None:
    assert parse_time(text, now_ms=NOW_MS, option="--to") == wanted


@pytest.mark.parametrize("text", ["", "soon", "+2w", "-2h", "2h", "+" + "9" * 30 + "d", "9" * 30])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time"):
        parse_time(text, now_ms=NOW_MS, option="--to")


def test_a_change_is_said_in_one_line() -> None:
    timer = PendingTimer(unique_key="A", deliver_ms=NOW_MS)
    assert change_text(BrokerChange("b", TimerChange(timer, "cancelled"))).startswith("cancelled: A of 20")
    assert "too late" in change_text(BrokerChange("b", TimerChange(timer, "due")))
    moved = change_text(BrokerChange("b", TimerChange(timer, "rescheduled", "B", NOW_MS + 1000)))
    assert "comes at" in moved
    assert moved.endswith(" as B")


@pytest.mark.parametrize("words", [["cancel", "T"], ["cancel", "T", "-k", "a", "-i", "b"], ["reschedule", "T", "--to", "+1s"]])
def test_one_of_key_and_id_is_asked_for(words: list[str]) -> None:
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 2
    assert "either --key or --id" in result.output
