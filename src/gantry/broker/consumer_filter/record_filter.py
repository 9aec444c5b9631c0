"""Filters over stored messages: what a pull's expression says of a record's properties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from gantry.errors import FilterExpressionError
from gantry.model.heartbeat import EXPRESSION_SQL92
from gantry.protocol.message.properties import decode_properties, find_property
from gantry.protocol.message.record import record_properties

if TYPE_CHECKING:
    from gantry.protocol.filter.sql92 import SqlFilter

_FOUND_SINGLY_MAX = 4
"""Properties that are looked for one by one; for more than these all of a message are read."""


def compile_expression(expression: str, expression_type: str) -> SqlFilter:
    """The filter of an expression over properties. Raises: FilterExpressionError, for an unknown type too."""
    if expression_type != EXPRESSION_SQL92:
        raise FilterExpressionError(
            position=0, found="", reason=f"expressions of type {expression_type[:64]!r} are unknown here"
        )
    # Not before somebody filters: it is 4 ms of a start that is ready in 250.
    from gantry.protocol.filter.sql92 import compile_sql

    return compile_sql(expression)


class RecordFilter(Protocol):
    """`tests` is what one look at a message costs, in comparisons."""

    @property
    def tests(self) -> int: ...

    def matches(self, properties: Mapping[str, str]) -> bool: ...

    def matches_record(self, record: bytes | memoryview) -> bool: ...


class ExpressionFilter:
    """A SQL92 expression over stored records; two of the same compiled one are equal. Source: ExpressionMessageFilter (5.5)."""

    __slots__ = ("_filter", "_names")

    def __init__(self, compiled: SqlFilter) -> None:
        self._filter = compiled
        self._names = [(name, name.encode()) for name in compiled.names] if len(compiled.names) <= _FOUND_SINGLY_MAX else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExpressionFilter) and other._filter is self._filter

    def __hash__(self) -> int:
        return hash(self._filter)

    @property
    def tests(self) -> int:
        return self._filter.tests

    def matches(self, properties: Mapping[str, str]) -> bool:
        return self._filter.matches(properties)

    def matches_record(self, record: bytes | memoryview) -> bool:
        data = record_properties(record)
        if self._names is None:
            return self._filter.matches(decode_properties(data))
        properties = {}
        for name, encoded in self._names:
            value = find_property(data, encoded)
            if value is not None:
                properties[name] = value.decode("utf-8", "replace")
        return self._filter.matches(properties)
