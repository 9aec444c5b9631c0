"""The handle by which a delayed message can be recalled; the broker's answer to a send carries it.

Shape:  base64 for URLs, padded, of `v1 topic brokerName timestamp uniqueKey` joined by single spaces, UTF-8. The timestamp is
        TIMER_OUT_MS + 1: taken as a delivery time it leads back to the message's slot.
Source: RecallMessageHandle, SendMessageProcessor.attachRecallHandle (5.5).
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

from gantry.errors import RemoteProtocolError

_VERSION = "v1"
_SEPARATOR = " "
_INVALID = "recall handle is invalid"


class RecallHandle(NamedTuple):
    """Units: `timestamp` is text as it came: whoever uses it has to see whether it is a number of ms."""

    topic: str
    broker_name: str
    timestamp: str
    unique_key: str


def encode_recall_handle(topic: str, broker_name: str, timestamp_ms: int, unique_key: str) -> str:
    text = _SEPARATOR.join((_VERSION, topic, broker_name, str(timestamp_ms), unique_key))
    return base64.urlsafe_b64encode(text.encode()).decode()


def decode_recall_handle(handle: str) -> RecallHandle:
    """Raises: RemoteProtocolError with the official sentence."""
    if not handle:
        raise RemoteProtocolError(_INVALID)
    try:
        # Java's decoder takes a handle without its padding, and no character from outside the alphabet.
        padded = handle.rstrip("=")
        data = base64.b64decode(padded + "=" * (-len(padded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise RemoteProtocolError(_INVALID) from None
    items = data.decode("utf-8", "replace").split(_SEPARATOR)
    if items[0] != _VERSION or len(items) < 5:
        raise RemoteProtocolError(_INVALID)
    return RecallHandle(*items[1:5])
