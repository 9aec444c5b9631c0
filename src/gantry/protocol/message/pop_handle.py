"""Receipt handles of popped messages, and the strings of a pop's answer that clients build them of.

Shape: a handle is 8 fields joined by single spaces: `ckOffset popTime invisibleTime reviveQid retryFlag brokerName queueId
       msgQueueOffset`; a proxy appends a ninth. ckOffset is where the pop of that queue began.
       startOffsetInfo `retryFlag queueId startOffset`, msgOffsetInfo `retryFlag queueId off1,off2`, orderCountInfo
       `retryFlag queueId n` or `retryFlag qo<queueId>%<offset> n`; entries joined by `;`.
Source: ExtraInfoUtil (5.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gantry.errors import LocalProtocolError, RemoteProtocolError
from gantry.model import names

NORMAL, RETRY_V1, RETRY_V2 = "0", "1", "2"
ORDER_REVIVE_QUEUE = 999
"""reviveQid of a handle that belongs to an orderly pop."""

_FIELD, _ENTRY = " ", ";"


class PopHandle(NamedTuple):
    """A parsed handle; only the first four fields matter to the broker."""

    start_offset: int
    pop_time: int
    invisible_time: int
    revive_qid: int

    @property
    def is_order(self) -> bool:
        return self.revive_qid == ORDER_REVIVE_QUEUE


def parse_handle(extra_info: str) -> PopHandle:
    """Raises: RemoteProtocolError when the text is no handle."""
    fields = extra_info.split(_FIELD)
    try:
        return PopHandle(int(fields[0]), int(fields[1]), int(fields[2]), int(fields[3]))
    except (IndexError, ValueError):
        raise RemoteProtocolError(f"extraInfo {extra_info[:128]!r} is no receipt handle") from None


class PopReceipt(NamedTuple):
    """A handle as the client reads it, which has to find the broker and the queue again."""

    start_offset: int
    pop_time: int
    invisible_time: int
    revive_qid: int
    retry_flag: str
    broker_name: str
    queue_id: int
    queue_offset: int


def parse_receipt(handle: str) -> PopReceipt:
    """All fields of a handle. Raises: LocalProtocolError when the text is none."""
    fields = handle.split(_FIELD)
    try:
        start_offset, pop_time, invisible_time, revive_qid = map(int, fields[:4])
        retry_flag, broker_name = fields[4], fields[5]
        return PopReceipt(
            start_offset, pop_time, invisible_time, revive_qid, retry_flag, broker_name, int(fields[6]), int(fields[7])
        )
    except (IndexError, ValueError):
        raise LocalProtocolError(f"{handle[:128]!r} is no receipt handle") from None


def join_receipt(receipt: PopReceipt) -> str:
    """The text of a handle."""
    return _FIELD.join(map(str, receipt))


def build_handle(
    start_offset: int,
    pop_time: int,
    invisible_time: int,
    revive_qid: int,
    topic: str,
    broker_name: str,
    queue_id: int,
    queue_offset: int,
) -> str:
    return (
        f"{start_offset} {pop_time} {invisible_time} {revive_qid} {retry_flag(topic)} {broker_name} {queue_id} {queue_offset}"
    )


def retry_flag(topic: str) -> str:
    """Of the topic a message lies in."""
    if not names.is_retry_topic(topic):
        return NORMAL
    return RETRY_V2 if names.is_pop_retry_topic_v2(topic) else RETRY_V1


def real_topic(topic: str, group: str, flag: str) -> str:
    """Where a message with this retry flag lies. Raises: RemoteProtocolError for another flag."""
    if flag == NORMAL:
        return topic
    if flag == RETRY_V1:
        return names.pop_retry_topic_v1(topic, group)
    if flag == RETRY_V2:
        return names.pop_retry_topic_v2(topic, group)
    raise RemoteProtocolError("getRetry fail, format is wrong")


def start_offset_entry(topic: str, queue_id: int, start_offset: int) -> str:
    return f"{retry_flag(topic)} {queue_id} {start_offset}"


def msg_offset_entry(topic: str, queue_id: int, offsets: Sequence[int]) -> str:
    return f"{retry_flag(topic)} {queue_id} {','.join(map(str, offsets))}"


def offset_order_count_entry(topic: str, queue_id: int, offset: int, count: int) -> str:
    return f"{retry_flag(topic)} qo{queue_id}%{offset} {count}"


def queue_order_count_entry(topic: str, queue_id: int, count: int) -> str:
    """For old clients, which look for the queue alone."""
    return f"{retry_flag(topic)} {queue_id} {count}"


def join_entries(entries: Sequence[str]) -> str:
    return _ENTRY.join(entries)


def parse_start_offsets(text: str) -> dict[tuple[str, int], int]:
    """startOffsetInfo of an answer, by retry flag and queue id. Raises: RemoteProtocolError."""
    found = {}
    try:
        for entry in filter(None, text.split(_ENTRY)):
            flag, queue_id, start = entry.split(_FIELD)
            found[flag, int(queue_id)] = int(start)
    except ValueError:
        raise RemoteProtocolError(f"startOffsetInfo {text[:128]!r} cannot be read") from None
    return found
