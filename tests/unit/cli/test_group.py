"""Places that `gantry group reset` takes."""

from __future__ import annotations

import click
import pytest

from gantry.admin import QueueMove
from gantry.cli.group import parse_place
from gantry.model import MessageQueue

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("earliest", 0),
        ("latest", -1),
        ("1700000000000", 1_700_000_000_000),
        ("-90s", NOW_MS - 90_000),
        ("-2h", NOW_MS - 7_200_000),
        ("-999999d", 0),
        ("2026-11-28T10:00:00+00:00", 1_795_860_000_000),
    ],
)
def test_places(text: str, wanted: int) -> None:
    assert parse_place(text, now_ms=NOW_MS) == wanted


@pytest.mark.parametrize("text", ["", "soon", "-2w", "2h", "--1"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no place"):
        parse_place(text, now_ms=NOW_MS)


@pytest.mark.parametrize(("begin", "end", "skipped", "repeated"), [(None, 5, 0, 0), (3, 5, 2, 0), (5, 3, 0, 2), (4, 4, 0, 0)])
def test_a_move_says_what_is_skipped_and_what_comes_again(begin: int | None, end: int, skipped: int, repeated: int) -> None:
    move = QueueMove(MessageQueue("T", "a", 0), begin, end)
    assert (move.skipped, move.repeated) == (skipped, repeated)
