"""What a SQL92 filter expression may look like, and how a wrong one is told. All of it as the official parser has it."""

from __future__ import annotations

import contextlib
import time

import pytest

from gantry.errors import FilterExpressionError
from gantry.protocol.filter.sql92 import DEPTH_MAX, LENGTH_MAX, PARENTHESES_MAX, TESTS_MAX, FilterShelf, SqlFilter, compile_sql

SLOW_S = 1.0
"""No text costs more; most cost far less than 50 ms, on a busy machine too."""


@pytest.mark.parametrize(
    "expression",
    [
        "a > 5", "a>5", "a >= 5.5 AND b < .5e3", "a = 'x' OR a <> 'y'", "a BETWEEN 1 AND 10", "a NOT BETWEEN 1 AND 10",
        "a IN ('x')", "a not in ('x', 'y')", "a IS NULL", "a Is Not Null", "a = TRUE", "a = false", "a", "NOT a", "(a)", "TRUE",
        "null", "a CONTAINS 'x'", "a NOT CONTAINS 'x'", "a startsWith 'x'", "a NOT STARTSWITH 'x'", "a ENDSWITH 'x'",
        "a NOT ENDSWITH 'x'", "a > -5", "a > - - 5", "a > +5", "a > 5L", "a > 9223372036854775807", "a > b", "5 > a", "5 > 3",
        "'x' = 'y'", "5 = '5'", "1 = TRUE", "a = b = c", "(a > 1) = (b > 2)", "a > 1 IS NULL", "-a = 5", "a > -TRUE",
        "$a_1 = 'it''s'",
        "a /* c */ > -- d\n 5", "NOT NOT NOT a", "a BETWEEN -1 AND -5", "'abc' CONTAINS 'b'", "NOT NOT NULL = a", "a\t>\r\n\f5",
    ],
)  # fmt: skip
def test_is_a_filter(expression: str) -> None:
    assert SqlFilter(expression).ignored_from == -1


@pytest.mark.parametrize(
    ("expression", "position", "reason"),
    [
        ("", 0, "expected a property"),
        ("   ", 3, "expected a property"),
        ("5", 0, "gives no TRUE or FALSE"),
        ("'x'", 0, "gives no TRUE or FALSE"),
        ("-a", 0, "gives no TRUE or FALSE"),
        ("a AND 5", 6, "gives no TRUE or FALSE"),
        ("a >", 3, "expected a property"),
        ("a > 'x'", 4, "only numbers and properties"),
        ("a > TRUE", 4, "only numbers and properties"),
        ("a > NULL", 4, "only numbers and properties"),
        ("a > 5 > 3", 0, "only numbers and properties"),
        ("NOT a BETWEEN 1 AND 3", 0, "only numbers and properties"),
        ("a = NULL", 4, "IS NULL"),
        ("NULL <> a", 0, "IS NULL"),
        ("TRUE = 1", 0, "boolean constant"),
        ("a BETWEEN 5 AND 1", 10, "wrong way round"),
        ("a BETWEEN 1 OR 5", 12, "expected AND"),
        ("a IN ()", 6, "expected a quoted string"),
        ("a IN (5)", 6, "expected a quoted string"),
        ("a IN ('x' 'y')", 10, "or a comma"),
        ("5 IN ('x')", 0, "expected a property"),
        ("a IN ('x') IN ('y')", 0, "expected a property"),
        ("a IS 5", 5, "expected NULL"),
        ("a IS NOT 5", 9, "expected NULL"),
        ("a NOT 5", 6, "after NOT"),
        ("a CONTAINS 5", 11, "expected a quoted string"),
        ("(a", 2, "expected )"),
        ("a = 'x", 4, "no closing quote"),
        ('a = "x"', 4, "single quotes"),
        ("a != 5", 2, "<>"),
        ("a > 5 /* x", 6, "/* closed */"),
        ("a > 5 #", 6, "no token"),
        ("a > 9223372036854775808", 4, "whole numbers end at"),
        ("a > -9223372036854775808", 5, "whole numbers end at"),
        ("a > 0.0", 4, "above zero"),
        ("a > 1e-400", 4, "above zero"),
        ("a > 1e400", 4, "beyond a double"),
    ],
)
def test_a_wrong_one_is_told_with_its_place(expression: str, position: int, reason: str) -> None:
    with pytest.raises(FilterExpressionError) as told:
        SqlFilter(expression)
    assert told.value.position == position
    assert reason in told.value.reason
    assert f"character {position + 1}" in str(told.value)
    assert expression[position:].startswith(told.value.found)


@pytest.mark.parametrize(
    ("expression", "heeded", "ignored_from"),
    [
        ("a > 5 b > 3", "a > 5", 6),
        ("a > 5) OR b > 3", "a > 5", 5),
        ("a = 007", "a = 0", 5),  # a whole number has no leading zeros: these are three
        ("a > 0L", "a > 0", 5),
        ("a > 5 -- no line end", "a > 5", 6),
        ("a > 5 LIKE #", "a > 5", 6),
    ],
)
def test_what_the_grammar_does_not_reach_is_ignored(expression: str, heeded: str, ignored_from: int) -> None:
    """The original's parser does not ask for the end of the text."""
    found, sound = SqlFilter(expression), SqlFilter(heeded)
    assert found.ignored_from == ignored_from
    for value in ("-1", "0", "4", "5", "6", "7"):
        assert found.matches({"a": value, "b": "9"}) == sound.matches({"a": value})


def test_names_keep_their_case_and_keywords_have_none() -> None:
    assert SqlFilter("Colour = 'x' And nOt (colour is nulL)").matches({"Colour": "x", "colour": "y"})
    assert not SqlFilter("Colour = 'x'").matches({"colour": "x"})


def test_limits() -> None:
    SqlFilter("(" * PARENTHESES_MAX + "a" + ")" * PARENTHESES_MAX)
    with pytest.raises(FilterExpressionError, match="deep"):
        SqlFilter("(" * (PARENTHESES_MAX + 1) + "a" + ")" * (PARENTHESES_MAX + 1))
    SqlFilter(" OR ".join(["a = 1"] * TESTS_MAX)).matches({"a": "2"})
    with pytest.raises(FilterExpressionError, match="more than"):
        SqlFilter(" OR ".join(["a = 1"] * (TESTS_MAX + 1)))
    with pytest.raises(FilterExpressionError, match="deep"):
        SqlFilter(" = ".join(["a"] * (DEPTH_MAX + 1)))
    # null = null is TRUE, but TRUE = null is FALSE.
    assert SqlFilter(" = ".join(["a"] * DEPTH_MAX)).evaluate({}) is False
    members = ", ".join(f"'{number}'" for number in range(3000))
    assert SqlFilter(f"a IN ({members})").matches({"a": "2999"})
    with pytest.raises(FilterExpressionError, match="are more than"):
        SqlFilter("a = '" + "x" * LENGTH_MAX + "'")


def test_the_deepest_expression_is_evaluated() -> None:
    """Nesting of all kinds at once stays within Python's own limit on calls."""
    text = "a = 'x'"
    for _ in range(DEPTH_MAX // 3 - 2):
        text = f"NOT ((b = 'y' OR {text}) AND c IS NULL)"
        if text.count("(") > PARENTHESES_MAX - 3:
            break
    assert SqlFilter(text).evaluate({"a": "x"}) in (True, False, None)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 40_000, "- " * 20_000, "a > " + "- " * 16_000 + "5", "NOT " * 9_000 + "a", "--" * 20_000, "--" * 16_000 + "\n",
        "/*" * 20_000,
        "/*" + "*" * 30_000, "'" * 30_001, "a > " + "9" * 30_000, "a > ." + "9" * 30_000, "a > 1e" + "9" * 30_000,
        "a IN (" + "'x'," * 7_000,
        "a" * (1 << 20), "a=a" + "=a" * 10_000, "a AND " * 5_000, "a CONTAINS 'x' " * 2_000, "\n" * 32_000, "+" * 32_000,
        "é" * 30_000,
    ],
    ids=lambda text: f"{text[:12]!r}x{len(text)}",
)  # fmt: skip
def test_hostile_text_costs_little(text: str) -> None:
    began = time.thread_time()
    with contextlib.suppress(FilterExpressionError):
        SqlFilter(text).matches({"a": "5"})
    assert time.thread_time() - began < SLOW_S


def test_the_shelf_keeps_the_last_ones_and_its_bounds() -> None:
    shelf = FilterShelf(count_max=3, chars_max=40)
    first = shelf.get("a = 1")
    assert shelf.get("a = 1") is first
    for text in ("b = 1", "a = 1", "c = 1", "d = 1"):
        shelf.get(text)
    assert len(shelf) == 3
    assert shelf.get("a = 1") is first
    assert shelf.get("b = 1") is not None
    shelf.get("e = '" + "x" * 30 + "'")
    assert len(shelf) == 1
    for _ in range(2):
        with pytest.raises(FilterExpressionError) as told:
            shelf.get("a = ")
        assert told.value.position == 4
    assert compile_sql("a = 1") is compile_sql("a = 1")
