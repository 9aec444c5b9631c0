"""Records that a power cut tore: how a recovery tells them from whole ones, and what is refused so that it always can.

The CRC of a record covers its body. Topic and properties are told from a torn write by what such a write leaves behind:
files of the log are zero before they are written, and what is lost are whole sectors.
"""

from __future__ import annotations

from gantry.protocol.message.record import MAGIC_V2, RecordView

SECTOR_BYTES = 512
ZERO_RUN_MAX = SECTOR_BYTES - 2
"""So many zero bytes in a row, behind a length whose low byte may be zero, too, fill no sector."""

_TOO_MANY_ZEROS = bytes(ZERO_RUN_MAX + 1)


def is_torn(view: RecordView, physical_offset: int, *, last: bool) -> bool:
    """A power cut lost a part of the record that its CRC does not cover.

    Topic or properties then are zero from one sector border to the next. The `last` record of the log may also be cut
    anywhere.
    """
    data = view.buffer
    begin = view.topic_start
    if view.magic == MAGIC_V2 and data[begin] == 0:
        begin += 1  # the high byte of a length below 256: zero as written, and it may stand alone before a border
    end = view.end if view.properties_length else view.end - 2
    shift = physical_offset - view.start
    while begin < end:
        border = min(end, begin + SECTOR_BYTES - (begin + shift) % SECTOR_BYTES)
        if not any(data[begin:border]):
            return True
        begin = border
    return last and view.properties_length > 0 and data[view.end - 1] == 0


def looks_torn(properties: bytes) -> bool:
    """Whole, these properties could look as if a sector of them was lost: no store may take them."""
    return properties.endswith(b"\0") or (len(properties) > ZERO_RUN_MAX and _TOO_MANY_ZEROS in properties)
