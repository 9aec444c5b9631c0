"""Any text is a SQL92 filter or a declared error with its place, and the filter answers whatever a message holds."""

from __future__ import annotations

from collections.abc import Iterable

from gantry.errors import FilterExpressionError
from gantry.protocol.filter.sql92 import Incomparable, SqlFilter

PROPERTIES: tuple[dict[str, str], ...] = (
    {},
    {"a": "5", "b": "x", "c": "true"},
    {"a": "5.5", "b": "NaN", "c": "-0.0"},
    {"a": "\u0665", "b": "0x1p3", "c": "9" * 40},
)


def seeds() -> Iterable[bytes]:
    return (
        b"a > 5", b"a BETWEEN 1 AND 5.5 OR NOT b IN ('x', 'it''s')", b"a IS NOT NULL AND (b CONTAINS 'x')",
        b"-- c\n(a = TRUE) = -c",
        b"/* c */ a NOT ENDSWITH '' <> NULL IS NULL", b"a = 9223372036854775807L", b"a < .5e-3)", b"+ - NOT 'x", b"((((a))))",
        b"",
        b"a = b = c", b"c NOT BETWEEN a AND b",
    )  # fmt: skip


def check(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        found = SqlFilter(text)
    except FilterExpressionError as error:
        check_place(error, text)
        return
    heeded = text if found.ignored_from < 0 else text[: found.ignored_from]
    again = SqlFilter(heeded)
    try:
        negated = SqlFilter(f"NOT ({heeded})")
    except FilterExpressionError as error:
        if "deep" in error.reason:
            return
        raise
    for properties in PROPERTIES:
        try:
            value = found.evaluate(properties)
        except Incomparable:
            assert not found.matches(properties)
            assert not negated.matches(properties)
            continue
        assert value is again.evaluate(properties)
        assert negated.evaluate(properties) is (None if value is None else not value)
        assert found.matches(properties) is (value is True)


def check_place(error: FilterExpressionError, text: str) -> None:
    assert 0 <= error.position <= len(text)
    assert text[error.position :].startswith(error.found)
