"""Our own metadata beside the official files: the synced offset S, and what cannot be derived from the log any more.

`gantry/syncedOffset.json`: S, the record that ends there and its CRC; D, up to which queues and index are on the disk.
`gantry/queueOffsets.json`: the next offset of each queue, so that a queue whose records all expired never uses one twice;
and the deleted topics whose old records still lie in the log.
Both are replaced as a whole (`runtime.replace`). An older copy is still true: S and D only grow, except when recovery cuts
the log, and then both are written before anything is served.
"""

from __future__ import annotations

import msgspec

_NO_RECORD = -1


class IndexMark(msgspec.Struct, rename="camel"):
    """The newest index file as it was when D was written: its name and its header."""

    name: str = ""
    begin_timestamp: int = 0
    end_timestamp: int = 0
    begin_phy_offset: int = 0
    end_phy_offset: int = 0
    hash_slot_count: int = 0
    index_count: int = 1


class SyncedState(msgspec.Struct, rename="camel"):
    """Units: offsets in bytes of the log, times in ms. `last_record_crc` is CRC32 of the whole record ending at S.
    `hash_slot_num` is not needed here but in no index file: readers without the broker's settings take it from here."""

    synced_offset: int = 0
    last_record_offset: int = _NO_RECORD
    last_record_size: int = 0
    last_record_crc: int = 0
    last_store_timestamp: int = 0
    dispatched_offset: int = 0
    hash_slot_num: int = 0
    index: IndexMark = msgspec.field(default_factory=IndexMark)

    @property
    def has_record(self) -> bool:
        return self.last_record_offset != _NO_RECORD


class QueueOffsets(msgspec.Struct, rename="camel"):
    """`queues`: topic to queue id to next offset; `expired_queues`: the same of queues removed when they had no message left;
    `deleted_topics`: topic to the log's end when it was deleted.
    """

    queues: dict[str, dict[int, int]] = msgspec.field(default_factory=dict)
    expired_queues: dict[str, dict[int, int]] = msgspec.field(default_factory=dict)
    deleted_topics: dict[str, int] = msgspec.field(default_factory=dict)


def encode_state(state: SyncedState | QueueOffsets) -> bytes:
    return msgspec.json.encode(state)


def decode_synced_state(data: bytes) -> SyncedState:
    """Raises: ValueError."""
    try:
        return msgspec.json.decode(data, type=SyncedState)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def decode_queue_offsets(data: bytes) -> QueueOffsets:
    """Raises: ValueError."""
    try:
        return msgspec.json.decode(data, type=QueueOffsets)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
