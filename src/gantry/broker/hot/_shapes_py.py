"""Headers of sends as one sender writes them again and again: cut into what stays and what varies.

A sender's headers are alike: of two with the same length, mostly only opaque, queue, time and the values of properties
differ. So a header that went the long way and was found common is learned, and the next ones like it are cut by one struct and
compared piece by piece. A value keeps its length, and what is in it cannot move the borders of the pieces; whoever cuts looks
that it holds no separator of properties.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from gantry.model import message_const
from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import FLAG_ONEWAY

SHAPE_BYTES_MAX = 2048
"""Longer headers are not learned."""
_PIECES_MAX = 64

_SEND_V2 = int(RequestCode.SEND_MESSAGE_V2)
_SEND = int(RequestCode.SEND_MESSAGE)
_NAMES = {
    _SEND: (b"topic", b"queueId", b"bornTimestamp", b"properties", b"flag", b"sysFlag", b"reconsumeTimes"),
    _SEND_V2: (b"b", b"e", b"g", b"i", b"h", b"f", b"j"),
}
_FIXED = struct.Struct(">hbhiiii")
_OPAQUE_AT = 5
_UNIQ = message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX.encode()
_WAIT = message_const.WAIT_STORE_MSG_OK.encode()
_TAGS = message_const.TAGS.encode()
_KEYS = message_const.KEYS.encode()

Span = tuple[int, int]


class SendShape:
    """One of them. `cut` gives pieces in order, in turn one that stays and one that varies; `stays` are the former.

    `pick` takes opaque, topic, queue id, born time and unique key out of the pieces; `tags_at` and `words_at` are the places of
    TAGS and KEYS among them, 0 for none. Units: `properties_start` and `properties_end` in bytes from the header's beginning.
    """

    __slots__ = (
        "cut",
        "flag",
        "is_oneway",
        "is_open",
        "name_ends",
        "pair_ends",
        "pick",
        "properties_end",
        "properties_start",
        "reconsume_times",
        "size",
        "stays",
        "sys_flag",
        "tags_at",
        "waits",
        "words_at",
    )

    def __init__(self, header: bytes, fields: dict[bytes, Span], names: tuple[bytes, ...], pairs: dict[bytes, Span]) -> None:
        topic, queue_id, born, (start, end) = (fields[name] for name in names[:4])
        known = {"opaque": (_OPAQUE_AT, _OPAQUE_AT + 4), "topic": topic, "queue": queue_id, "born": born}
        varying = sorted([*known.values(), *(span for name, span in pairs.items() if name != _WAIT)])
        place = {span: 2 * number + 1 for number, span in enumerate(varying)}
        layout: list[int] = []
        at = 0
        for begin, stop in varying:
            layout += (begin - at, stop - begin)
            at = stop
        layout.append(len(header) - at)
        self.size = len(header)
        self.cut: Callable[[bytes, int], tuple[Any, ...]] = struct.Struct("".join(f"{size}s" for size in layout)).unpack_from
        self.stays = self.cut(header, 0)[::2]
        self.pick: Callable[[tuple[Any, ...]], tuple[bytes, ...]] = itemgetter(
            *(place[span] for span in known.values()), place[pairs[_UNIQ]]
        )
        self.tags_at = place[pairs[_TAGS]] if _TAGS in pairs else 0
        self.words_at = place[pairs[_KEYS]] if _KEYS in pairs else 0
        self.properties_start, self.properties_end = start, end
        self.is_open = header[end - 1] != 2
        self.name_ends, self.pair_ends = len(pairs), len(pairs) - self.is_open
        self.flag, self.sys_flag, self.reconsume_times = (
            int(header[slice(*fields[name])]) if name in fields else 0 for name in names[4:]
        )
        self.is_oneway = bool(_FIXED.unpack_from(header)[4] & FLAG_ONEWAY)
        self.waits = _WAIT not in pairs or header[slice(*pairs[_WAIT])].lower() == b"true"


def shape_of(header: bytes) -> SendShape | None:
    """The shape of a binary header that was found to be a common send's; None when it is not worth learning."""
    code, _, _, _, _, remark_length, fields_length = _FIXED.unpack_from(header)
    names = _NAMES.get(code)
    if names is None or remark_length or len(header) > SHAPE_BYTES_MAX or not header[_FIXED.size :].isascii():
        return None
    fields = _fields(header, _FIXED.size, _FIXED.size + fields_length)
    if fields is None or b"" in (header[slice(*fields[name])] for name in names[:4]):
        return None
    pairs = _pairs(header, *fields[names[3]])
    if pairs is None or _UNIQ not in pairs or len(pairs) + 5 > _PIECES_MAX:
        return None
    return SendShape(header, fields, names, pairs)


def _fields(header: bytes, at: int, end: int) -> dict[bytes, Span] | None:
    """Where the values stand; None when a name is there twice."""
    found: dict[bytes, Span] = {}
    count = 0
    while at < end:
        name_end = at + 2 + int.from_bytes(header[at : at + 2], "big")
        value_at = name_end + 4
        stop = value_at + int.from_bytes(header[name_end:value_at], "big")
        found[header[at + 2 : name_end]] = value_at, stop
        at = stop
        count += 1
    return found if len(found) == count else None


def _pairs(header: bytes, at: int, end: int) -> dict[bytes, Span] | None:
    """Where the values of properties stand; None when anything about them is unusual."""
    found: dict[bytes, Span] = {}
    count = 0
    while at < end:
        stop = header.find(b"\x02", at, end)
        if stop < 0:
            stop = end
        name, separator, value = header[at:stop].partition(b"\x01")
        if not separator or not name or not value or b"\x01" in value:
            return None
        found[name] = stop - len(value), stop
        at = stop + 1
        count += 1
    return found if len(found) == count else None
