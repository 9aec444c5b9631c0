"""Bits of a stored message's sysFlag, of a pull request's sysFlag, and of a topic's sysFlag.

Source: MessageSysFlag, PullSysFlag, TopicSysFlag (5.3).
"""

from __future__ import annotations

# --- stored message
COMPRESSED = 0x1
MULTI_TAGS = 0x2
TRANSACTION_MASK = 0xC
TRANSACTION_NOT = 0x0
TRANSACTION_PREPARED = 0x4
TRANSACTION_COMMIT = 0x8
TRANSACTION_ROLLBACK = 0xC
BORN_HOST_V6 = 0x10
STORE_HOST_V6 = 0x20
NEED_UNWRAP = 0x40
INNER_BATCH = 0x80
COMPRESSION_MASK = 0x700
COMPRESSION_LZ4 = 0x100
COMPRESSION_ZSTD = 0x200
COMPRESSION_ZLIB = 0x300

# --- pull request
PULL_COMMIT_OFFSET = 1
PULL_SUSPEND = 2
PULL_SUBSCRIPTION = 4
PULL_CLASS_FILTER = 8
PULL_LITE = 16

# --- topic
TOPIC_UNIT = 1
TOPIC_UNIT_SUB = 2


def transaction_type(flag: int) -> int:
    return flag & TRANSACTION_MASK


def with_transaction_type(flag: int, kind: int) -> int:
    """The flag with its transaction bits replaced by `kind` (one of the TRANSACTION_ constants)."""
    return (flag & ~TRANSACTION_MASK) | kind


def compression_type(flag: int) -> int:
    """COMPRESSION_LZ4, COMPRESSION_ZSTD or COMPRESSION_ZLIB; records of old clients without the bits are ZLIB."""
    return (flag & COMPRESSION_MASK) or COMPRESSION_ZLIB
