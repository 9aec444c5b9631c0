"""The filter of one pull: what it asks of queue entries, and what of the records behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gantry.model import SubscriptionData, message_const
from gantry.model.heartbeat import SUB_ALL
from gantry.protocol.message.properties import decode_properties
from gantry.protocol.message.record import record_properties

from .consumer_filter_manager import ConsumerFilterManager
from .record_filter import ExpressionFilter, RecordFilter

if TYPE_CHECKING:
    from gantry.protocol.filter.sql92 import SqlFilter

_RETRY_TESTS = 100


class PullFilter(NamedTuple):
    """`tags` sees the hash in a queue entry, `record` the message; None lets everything pass."""

    tags: Callable[[int], bool] | None = None
    record: RecordFilter | None = None


NO_FILTER = PullFilter()


def sql_filter(compiled: SqlFilter) -> PullFilter:
    return PullFilter(record=ExpressionFilter(compiled))


def retry_filter(filters: ConsumerFilterManager, group: str) -> PullFilter:
    """The filter of a group's retry topic: each message is asked by the expression of the topic it came from."""
    return PullFilter(record=RetryExpressionFilter(filters, group))


class RetryExpressionFilter:
    """Without a filter of that topic a message passes. Source: ExpressionForRetryMessageFilter (5.5)."""

    tests = _RETRY_TESTS

    def __init__(self, filters: ConsumerFilterManager, group: str) -> None:
        self._filters = filters
        self._group = group

    def matches(self, properties: Mapping[str, str]) -> bool:
        data = self._filters.find(properties.get(message_const.RETRY_TOPIC, ""), self._group)
        compiled = None if data is None else self._filters.compiled(data)
        return compiled is None or compiled.matches(properties)

    def matches_record(self, record: bytes | memoryview) -> bool:
        return self.matches(decode_properties(record_properties(record)))


def tag_filter(subscription: SubscriptionData) -> Callable[[int], bool] | None:
    """A filter over tag hashes; equal hashes of other tags pass, the client looks again at the text."""
    codes = tag_codes(subscription)
    return frozenset(codes).__contains__ if codes else None


def tag_codes(subscription: SubscriptionData) -> Sequence[int]:
    """Hashes of the tags that a subscription asks for; none for every message."""
    if subscription.class_filter_mode or subscription.sub_string == SUB_ALL:
        return ()
    return subscription.code_set
