"""What SQL92 filter expressions mean, case by case as the official classes answer (tests/interop compares many more)."""

from __future__ import annotations

import pytest

from gantry.protocol.filter.sql92 import Incomparable, SqlFilter

THROWS = "throws"


def answer(expression: str, **properties: str) -> bool | str | None:
    try:
        return SqlFilter(expression).evaluate(properties)
    except Incomparable:
        return THROWS


def test_unknown_and_what_it_does() -> None:
    assert answer("a > 5") is None
    assert answer("NOT (a > 5)") is None
    assert answer("a > 5 OR b = 'x'", b="x") is True
    assert answer("a > 5 OR b = 'x'", b="y") is None
    assert answer("a > 5 AND b = 'x'", b="x") is None
    assert answer("a > 5 AND b = 'x'", b="y") is False
    assert answer("a IS NULL") is True
    assert answer("a IS NOT NULL") is False
    assert answer("(a > 5) IS NULL") is True
    assert answer("a BETWEEN 1 AND 5") is None
    assert answer("a IN ('x')") is None
    assert answer("a NOT IN ('x')") is None
    assert answer("NULL") is None


def test_equality_of_nothing_has_a_left_and_a_right() -> None:
    assert answer("a = 'x'") is None
    assert answer("'x' = a") is False
    assert answer("a = b") is True
    assert answer("a = b", a="x") is False
    assert answer("a = b", b="x") is None
    assert answer("a <> b") is False


def test_a_number_beside_a_property_decides_how_it_is_read() -> None:
    assert answer("a > 5", a="6") is True
    assert answer("a > 5", a="5.5") == THROWS
    assert answer("a > 5.0", a="5.5") is True
    assert answer("a > 5", a="x") == THROWS
    assert answer("NOT (a > 5)", a="x") == THROWS
    assert answer("b = 'y' OR a > 5", a="x", b="y") is True
    assert answer("a > 5 OR b = 'y'", a="x", b="y") == THROWS
    assert answer("a < 5", a="3000000000") == THROWS  # more than 32 bits, beside a number that has them
    assert answer("a > 3000000000", a="3000000001") is True
    assert answer("a > 3000000000", a="9223372036854775808") == THROWS
    assert answer("a > -2147483648", a="0") is True
    assert answer("a > -2147483648", a="3000000000") is True  # it was a long before its sign came
    assert answer("a = 5", a="+5") is True
    assert answer("a = 5", a=" 5") == THROWS
    assert answer("a = 5.0", a=" 5\t") is True
    assert answer("a = 5", a="٥") is True  # any digit of the basic plane
    assert answer("a = 5.0", a="٥") == THROWS
    assert answer("a = 5", a="1_0") == THROWS
    assert answer("a = 10.0", a="1_0") == THROWS
    assert answer("a = 5", a="0" * 5000 + "5") is True
    assert answer("a = 5", a="9" * 5000) == THROWS
    assert answer("a = 5.", a="0x1.4p2") is True
    assert answer("a = 5.", a="5d") is True
    assert answer("a > 5.", a="inf") == THROWS


def test_nan_is_above_everything() -> None:
    assert answer("a > 5.0", a="NaN") is True
    assert answer("a <= 5.0", a="NaN") is False
    assert answer("5.0 < a", a="NaN") is True
    assert answer("a > b", a="NaN", b="Infinity") is True
    assert answer("a >= b", a="NaN", b="NaN") is True
    assert answer("a > b", a="0.0", b="-0.0") is True
    assert answer("a = b", a="0.0", b="-0.0") is False  # text


def test_two_properties_are_ordered_as_doubles() -> None:
    assert answer("a > b", a="10", b="9") is True
    assert answer("a > b", a="10", b="x") == THROWS
    assert answer("a > b", a="10") is None
    assert answer("a = b", a="1.0", b="1") is False


def test_constants_among_themselves() -> None:
    assert answer("5 = 5.0") is True
    assert answer("5 < 5.5") is True
    assert answer("'5' = 5") is True
    assert answer("'x' = 5") == THROWS
    assert answer("1 = TRUE") is False
    assert answer("'true' = TRUE") is True
    assert answer("9007199254740993 = 9007199254740992.0") is True
    assert answer("5 BETWEEN 1 AND 10") is True
    assert answer("5 IS NULL") is False


def test_booleans() -> None:
    assert answer("a = TRUE", a="tRuE") is True
    assert answer("a = TRUE", a="yes") is False
    assert answer("a = FALSE", a="yes") is True
    assert answer("TRUE = a", a="true") == THROWS  # the original casts the wrong side
    assert answer("a", a="true") is False  # a property is text, never a boolean
    assert answer("NOT a", a="true") is True
    assert answer("a") is None
    assert answer("(a > 1) = (b > 1)", a="2", b="2") is True
    assert answer("(a > 1) = 5", a="2") is False
    assert answer("a = b = c", a="x", b="x", c="true") == THROWS
    assert answer("-a > 5", a="7") is None
    assert answer("-(a IS NULL) = 5", a="7") is None
    assert answer("-(TRUE = a) = 5", a="7") == THROWS


def test_between() -> None:
    assert answer("a BETWEEN 1 AND 5", a="1") is True
    assert answer("a BETWEEN 1 AND 5", a="6") is False
    assert answer("a NOT BETWEEN 1 AND 5", a="6") is True
    assert answer("a BETWEEN b AND 5", a="6") is False
    assert answer("a BETWEEN b AND 5", a="4") is None
    assert answer("a BETWEEN -1 AND -5", a="-3") is False
    assert answer("a NOT BETWEEN 5 AND 1", a="3") is True


def test_text() -> None:
    assert answer("a CONTAINS 'bc'", a="abcd") is True
    assert answer("a STARTSWITH 'ab'", a="abcd") is True
    assert answer("a ENDSWITH 'cd'", a="abcd") is True
    assert answer("a NOT CONTAINS 'x'", a="abcd") is True
    assert answer("a NOT CONTAINS 'x'") is False  # never unknown
    assert answer("a CONTAINS ''", a="abcd") is False
    assert answer("a NOT CONTAINS ''", a="abcd") is False
    assert answer("5 CONTAINS '5'") is False
    assert answer("5 NOT CONTAINS '5'") is False
    assert answer("a = 'it''s'", a="it's") is True
    assert answer("a IN ('x', 'it''s')", a="it's") is True
    assert answer("a NOT IN ('x')", a="y") is True


@pytest.mark.parametrize("value", ["T", "F", "?"])
def test_matching_is_being_true(value: str) -> None:
    found = SqlFilter("a = 'T' AND NOT (b > 5)")
    properties = {"a": value, "b": "x" if value == "?" else "5"}
    assert found.matches(properties) is (value == "T")
