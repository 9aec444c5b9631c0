"""Names that are allowed and names that are not, in the official words."""

from __future__ import annotations

import pytest

from gantry.model.topic_validator import is_system_topic, validate_group, validate_topic


@pytest.mark.parametrize("name", ["T", "a" * 127, "%RETRY%" + "g" * 248, "A-b_c|d%e", "0"])
def test_allowed_topics(name: str) -> None:
    assert validate_topic(name) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (None, "blank"),
        ("", "blank"),
        ("  ", "blank"),
        ("a b", "illegal characters"),
        ("../../x", "illegal characters"),
        ("/etc/p", "illegal characters"),
        ("a\0b", "illegal characters"),
        ("a\n", "illegal characters"),
        ("ä", "illegal characters"),
        (".", "illegal characters"),
        ("a" * 128, "longer than topic max length: 127"),
        ("%DLQ%" + "g" * 251, "longer than topic max length: 255"),
    ],
)
def test_refused_topics(name: str | None, words: str) -> None:
    assert words in (validate_topic(name) or "")


def test_groups_have_their_own_limit() -> None:
    assert validate_group("g" * 120) is None
    assert "longer than group max length: 120" in (validate_group("g" * 121) or "")
    assert "illegal" in (validate_group("a/b") or "")


def test_system_topics() -> None:
    assert is_system_topic("TBW102")
    assert is_system_topic("rmq_sys_wheel_timer")
    assert not is_system_topic("orders")
