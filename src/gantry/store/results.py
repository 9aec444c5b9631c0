"""What the store hands back: planned records, put results, get results, query results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gantry.model import Host
from gantry.protocol.message.message_id import offset_msg_id

from .status import GetStatus, PutStatus

if TYPE_CHECKING:
    from .consume_queue import ConsumeQueue


class PlannedRecord:
    """One record of a plan: where it will lie and what its queue entry will say.

    Units: physical_offset and size in bytes, queue_offset in entries, store_timestamp in ms.
    """

    __slots__ = (
        "physical_offset",
        "properties",
        "queue",
        "queue_id",
        "queue_offset",
        "size",
        "store_host",
        "store_timestamp",
        "tags_code",
        "topic",
        "transaction_type",
    )

    def __init__(
        self,
        topic: str,
        queue_id: int,
        queue_offset: int,
        physical_offset: int,
        size: int,
        store_timestamp: int,
        store_host: Host,
        properties: bytes,
        transaction_type: int,
        queue: ConsumeQueue | None,
    ) -> None:
        self.topic = topic
        self.queue_id = queue_id
        self.queue_offset = queue_offset
        self.physical_offset = physical_offset
        self.size = size
        self.store_timestamp = store_timestamp
        self.store_host = store_host
        self.properties = properties
        self.transaction_type = transaction_type
        self.queue = queue
        self.tags_code = 0

    @property
    def end(self) -> int:
        """Physical offset after the record."""
        return self.physical_offset + self.size

    @property
    def offset_msg_id(self) -> str:
        return offset_msg_id(self.store_host, self.physical_offset)


class PutResult(msgspec.Struct):
    """How a put ended. `records` are the stored records, empty when nothing was appended; `remark` says why not."""

    status: PutStatus
    records: list[PlannedRecord] = msgspec.field(default_factory=list)
    remark: str = ""

    @property
    def record(self) -> PlannedRecord | None:
        return self.records[0] if self.records else None

    @property
    def ok(self) -> bool:
        """The message is in the log; a weak status (timeout of flush or slave) still counts."""
        return bool(self.records)


class GetResult(msgspec.Struct):
    """What a get found.

    `views` are whole stored records in queue order, one each; they stay valid as long as the caller holds them.
    Units: offsets in entries of the queue; `size` in bytes over all views.
    """

    status: GetStatus
    next_begin_offset: int
    min_offset: int
    max_offset: int
    views: list[bytes | memoryview] = msgspec.field(default_factory=list)
    size: int = 0
    suggest_slave: bool = False
    cold_bytes: int = 0
    """Of the size, what lies outside the hot area of the log (StoreConfig.hot_area_bytes)."""

    @property
    def count(self) -> int:
        return len(self.views)


class QueryResult(msgspec.Struct):
    """Records found by key, in the order of the log, and how far the index had come."""

    records: list[bytes] = msgspec.field(default_factory=list)
    index_last_update_timestamp: int = 0
    index_last_update_phyoffset: int = 0


class RecoveryReport(msgspec.Struct):
    """What a start found and did. Units: bytes, offsets of the log; counts as named."""

    clean_stop: bool = True
    own_state_matched: bool = True
    scanned_from: int = 0
    end: int = 0
    cut_bytes: int = 0
    side_file: str = ""
    fenced: list[tuple[int, int]] = msgspec.field(default_factory=list)
    dispatched_count: int = 0
