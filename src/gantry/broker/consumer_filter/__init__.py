"""Filters over message properties: who filters by what, and the filter of a pull."""

from .consumer_filter_manager import ConsumerFilterData, ConsumerFilterManager
from .pull_filter import NO_FILTER, PullFilter, retry_filter, sql_filter, tag_codes, tag_filter
from .record_filter import ExpressionFilter, RecordFilter, compile_expression

__all__ = [
    "NO_FILTER",
    "ConsumerFilterData",
    "ConsumerFilterManager",
    "ExpressionFilter",
    "PullFilter",
    "RecordFilter",
    "compile_expression",
    "retry_filter",
    "sql_filter",
    "tag_codes",
    "tag_filter",
]
