"""Op messages: they say which halves are over. Pure.

Shape:  topic RMQ_SYS_TRANS_OP_HALF_TOPIC, tag `d`; the body lists queue offsets of halves in decimal, each followed by a comma.
Source: TransactionalMessageServiceImpl, TransactionalMessageUtil (5.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gantry.model import Host, StoreMessage, message_const, topic_validator
from gantry.protocol.message.properties import encode_properties

OP_TOPIC = topic_validator.TRANS_OP_HALF_TOPIC
REMOVE_TAG = "d"
_SEPARATOR = b","
_NUMBER = re.compile(rb"[0-9]{1,19}\Z")
_PROPERTIES = encode_properties({message_const.TAGS: REMOVE_TAG, message_const.WAIT_STORE_MSG_OK: "true"})


def encode_op_bodies(offsets: Iterable[int], size_max: int) -> list[bytes]:
    """Bodies of at most `size_max` bytes each that list all offsets; one offset alone is never too long."""
    bodies: list[bytes] = []
    parts: list[bytes] = []
    size = 0
    for offset in offsets:
        part = b"%d," % offset
        if parts and size + len(part) > size_max:
            bodies.append(b"".join(parts))
            parts, size = [], 0
        parts.append(part)
        size += len(part)
    if parts:
        bodies.append(b"".join(parts))
    return bodies


def decode_op_body(body: bytes | memoryview) -> list[int]:
    """The offsets a body lists; what is no number is passed over."""
    return [int(part) for part in bytes(body).split(_SEPARATOR) if _NUMBER.match(part)]


def op_message(body: bytes, host: Host, now_ms: int) -> StoreMessage:
    return StoreMessage(
        topic=OP_TOPIC,
        queue_id=0,
        body=body,
        properties=_PROPERTIES,
        born_timestamp=now_ms,
        born_host=host,
        store_host=host,
        wait_store_ok=True,
    )
