"""A page of a broker's topics or groups, for slaves and tools that copy large tables piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from gantry.errors import RemoteProtocolError
from gantry.model import DataVersion
from gantry.protocol import json_dialect

T = TypeVar("T")

PAGE_COUNT_MAX = 2_000
"""Official default of `splitMetadataSize`."""


def page(
    table: Mapping[str, T], current: DataVersion, *, seq: int | None, data_version: str | None, count: int | None
) -> dict[str, T]:
    """The entries seq .. seq + count in the order of names; from the start when the table changed since the last page.

    All three None is the old form of the question and gets everything.
    Source: TopicConfigManager.subTopicConfigTable, AdminBrokerProcessor.getAllTopicConfig (5.5).
    """
    if seq is None and data_version is None and count is None:
        return dict(table)
    begin = max(seq or 0, 0)
    if begin and not _same_version(data_version, current):
        begin = 0
    limit = PAGE_COUNT_MAX if count is None else min(max(count, 0), PAGE_COUNT_MAX)
    return {name: table[name] for name in sorted(table)[begin : begin + limit]}


def _same_version(text: str | None, current: DataVersion) -> bool:
    if not text:
        return False
    try:
        return json_dialect.decode_request(text.encode(), DataVersion) == current
    except RemoteProtocolError:
        return False
