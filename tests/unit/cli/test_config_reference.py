"""The page of settings is what the declarations say, and every key has a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from gantry.cli.config_reference import SERVERS, config_class, page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "write it anew: gantry config --page > docs/configuration.md"


@pytest.mark.parametrize("server", SERVERS)
def test_every_key_says_what_it_does(server: str) -> None:
    silent = [key.name for key in config_class(server).keys().values() if not key.doc.strip()]
    assert not silent
