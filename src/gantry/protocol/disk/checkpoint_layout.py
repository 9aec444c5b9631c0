"""The checkpoint file: up to which store time log, queues and index are on the disk.

Shape:  4096 bytes; i8 physicMsgTimestamp @0, logicsMsgTimestamp @8, indexMsgTimestamp @16, masterFlushedOffset @24,
        confirmPhyOffset @32, big-endian; the rest is zero.
Units:  store times in ms since 1970 UTC, offsets in bytes of the commit log.
Source: StoreCheckpoint (5.3); docs/format/checkpoint.md.
"""

from __future__ import annotations

import struct

import msgspec

CHECKPOINT_SIZE = 4096
_LAYOUT = struct.Struct(">qqqqq")


class Checkpoint(msgspec.Struct):
    physic_msg_timestamp: int = 0
    logics_msg_timestamp: int = 0
    index_msg_timestamp: int = 0
    master_flushed_offset: int = 0
    confirm_phy_offset: int = 0

    @property
    def recovery_timestamp(self) -> int:
        """Store time up to which a crashed store needs no dispatching again, by the original's rule (3 s of margin)."""
        return max(min(self.physic_msg_timestamp, self.logics_msg_timestamp) - 3000, 0)


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    fields = _LAYOUT.pack(
        checkpoint.physic_msg_timestamp,
        checkpoint.logics_msg_timestamp,
        checkpoint.index_msg_timestamp,
        checkpoint.master_flushed_offset,
        checkpoint.confirm_phy_offset,
    )
    return fields.ljust(CHECKPOINT_SIZE, b"\0")


def decode_checkpoint(data: bytes) -> Checkpoint:
    """The fields of a checkpoint file; one too short counts as all zero, which means: recover from the start."""
    if len(data) < _LAYOUT.size:
        return Checkpoint()
    return Checkpoint(*_LAYOUT.unpack_from(data))
