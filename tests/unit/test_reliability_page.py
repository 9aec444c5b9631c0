"""The reliability page names tests: each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reliability.md"


def test_every_test_the_page_names_exists() -> None:
    named = set(re.findall(r"`(\w[\w/]*\.py)::(test_\w+)`", PAGE.read_text()))
    assert len(named) > 60
    texts = {path: (TESTS / path).read_text() for path in {path for path, _ in named}}
    missing = [f"{path}::{name}" for path, name in sorted(named) if not re.search(rf"\bdef {name}\(", texts[path])]
    assert not missing


def test_every_row_names_a_test_or_says_that_it_has_none() -> None:
    rows = re.findall(r"^\| [AFO]\d+ \|.*$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) > 25
    attacks = {int(number) for number in re.findall(r"^\| A(\d+) \|", PAGE.read_text(), re.MULTILINE)}
    assert attacks >= {*range(1, 8), *range(11, 14), 15, *range(17, 21), 22}, "an attack has no row"
    silent = [row[:60] for row in rows if "::" not in row and "no test of its own" not in row]
    assert not silent
