"""SQL92 expressions over message properties: lexer, parser, and evaluation compiled once. Semantics: docs/filters.md."""

from .java_values import Incomparable
from .parser import DEPTH_MAX, LENGTH_MAX, PARENTHESES_MAX, TESTS_MAX
from .sql_filter import FilterShelf, SqlFilter, compile_sql

__all__ = [
    "DEPTH_MAX",
    "LENGTH_MAX",
    "PARENTHESES_MAX",
    "TESTS_MAX",
    "FilterShelf",
    "Incomparable",
    "SqlFilter",
    "compile_sql",
]
