"""SQL92 filters for all inputs: three-valued logic equals a small model, and any text is a filter or a declared error."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gantry.errors import FilterExpressionError
from gantry.protocol.filter.sql92 import Incomparable, SqlFilter
from tests.fuzz.sql_expressions import check_place
from tests.sql_expressions import Expressions

ATOMS = ("p", "q", "r", "s")
UNKNOWN, FALSE, TRUE = 1, 0, 2  # as numbers AND is the lesser, OR the greater, NOT what is left of two

Tree = tuple


def trees() -> st.SearchStrategy[Tree]:
    leaves = st.sampled_from(ATOMS).map(lambda name: ("atom", name))
    return st.recursive(
        leaves,
        lambda parts: st.one_of(
            st.tuples(st.just("NOT"), parts),
            st.tuples(st.sampled_from(["AND", "OR"]), parts, parts),
            st.tuples(st.just("IS NULL"), parts),
        ),
        max_leaves=24,
    )


def text_of(tree: Tree) -> str:
    if tree[0] == "atom":
        return f"{tree[1]} = 'T'"
    if tree[0] == "NOT":
        return f"NOT ({text_of(tree[1])})"
    if tree[0] == "IS NULL":
        return f"({text_of(tree[1])}) IS NULL"
    return f"({text_of(tree[1])} {tree[0]} {text_of(tree[2])})"


def value_of(tree: Tree, properties: dict[str, str]) -> int:
    if tree[0] == "atom":
        value = properties.get(tree[1])
        return UNKNOWN if value is None else TRUE if value == "T" else FALSE
    if tree[0] == "NOT":
        return 2 - value_of(tree[1], properties)
    if tree[0] == "IS NULL":
        return TRUE if value_of(tree[1], properties) == UNKNOWN else FALSE
    choose = min if tree[0] == "AND" else max
    return choose(value_of(tree[1], properties), value_of(tree[2], properties))


@settings(deadline=None, max_examples=300)
@given(trees(), st.dictionaries(st.sampled_from(ATOMS), st.sampled_from(["T", "F"])))
def test_three_valued_logic(tree: Tree, properties: dict[str, str]) -> None:
    expected = {UNKNOWN: None, FALSE: False, TRUE: True}[value_of(tree, properties)]
    found = SqlFilter(text_of(tree))
    assert found.evaluate(properties) is expected
    assert found.matches(properties) is (expected is True)


@settings(deadline=None, max_examples=200)
@given(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 31), (1 << 31) - 1), st.integers(0, (1 << 31) - 1))
def test_numbers_are_ordered_as_numbers(value: int, low: int, span: int) -> None:
    properties = {"a": str(value)}
    high = min(low + span, (1 << 31) - 1)
    inside = low <= value <= high
    for low_text, high_text in ((str(low), str(high)), (f"({low})", f"({high})")):
        found = SqlFilter(f"a BETWEEN {low_text} AND {high_text}")
        try:
            assert found.evaluate(properties) is inside
        except Incomparable:
            # -2147483648 is a long's: what is read beside it may be longer, never shorter.
            raise AssertionError(f"{value} beside {low} and {high}") from None
    assert SqlFilter(f"a < {low} OR a > {high}").evaluate(properties) is not inside


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=200), st.dictionaries(st.text(max_size=3), st.text(max_size=8)))
def test_any_text_is_a_filter_or_a_declared_error(text: str, properties: dict[str, str]) -> None:
    check(text, properties)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 1 << 60))
def test_nearly_right_text_too(seed: int) -> None:
    made = Expressions(random.Random(seed), wild=0.3)
    check(made.expression(4), made.properties())


def check(text: str, properties: dict[str, str]) -> None:
    try:
        found = SqlFilter(text)
    except FilterExpressionError as error:
        check_place(error, text)
        return
    try:
        value = found.evaluate(properties)
    except Incomparable:
        value = None
    assert value in (True, False, None)
    assert found.matches(properties) is (value is True)
    assert found.tests >= 1


def test_the_generator_makes_both_kinds() -> None:
    made = Expressions(random.Random(7))
    told = []
    for _ in range(200):
        try:
            told.append(SqlFilter(made.expression()).matches(made.properties()))
        except FilterExpressionError:
            told.append(None)
    assert min(told.count(True), told.count(False), told.count(None)) > 20


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_gives_the_same_expressions(seed: int) -> None:
    first, second = (Expressions(random.Random(seed)) for _ in range(2))
    assert [first.expression() for _ in range(20)] == [second.expression() for _ in range(20)]
