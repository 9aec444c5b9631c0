"""The blank record that fills the end of a commit log file.

Shape:  i4 remaining bytes of the file from here, i4 magic 0xCBD43194; what follows has no meaning (zero in our files).
Source: CommitLog.DefaultAppendMessageCallback (5.3).
"""

from __future__ import annotations

import struct

from gantry.protocol.message.record import MAGIC_BLANK

_LAYOUT = struct.Struct(">ii")
BLANK_SIZE_MIN = _LAYOUT.size


def encode_blank(remaining: int) -> bytes:
    """The first 8 bytes of a blank record that is `remaining` bytes long."""
    return _LAYOUT.pack(remaining, MAGIC_BLANK)
