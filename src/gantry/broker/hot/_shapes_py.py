"""Headers of sends as one sender writes them again and again: cut into what stays and what varies.

A sender's headers are alike: of two with the same length, mostly only opaque, queue, time and the values of properties
differ. So a header that went the long way and was found common is learned, and the next ones like it are cut by one struct and
compared piece by piece. A value keeps its length, and what is in it cannot move the borders of the pieces as long as it holds
no separator, and in JSON nothing that is escaped: properties_in() looks.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from gantry.model import message_const
from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import SERIALIZE_JSON, SERIALIZE_ROCKETMQ, RemotingCommand

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
_OPAQUE = 5, 9
_OPAQUE_DIGITS_MAX = 10
_SEPARATORS = {SERIALIZE_JSON: (b"\\u0001", b"\\u0002"), SERIALIZE_ROCKETMQ: (b"\x01", b"\x02")}
_JSON_FIELDS = re.compile(rb'"extFields":\{((?:"[^"{}\s\\]+":"(?:[^"{}\x00-\x1f\\]|\\u000[12])*",?)+)\}')
_JSON_FIELD = re.compile(rb'"([^"]+)":"([^"]*)"')
_JSON_OPAQUE = re.compile(rb'"opaque":(\d+)[,}]')
_UNIQ = message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX.encode()
_WAIT = message_const.WAIT_STORE_MSG_OK.encode()
_TAGS = message_const.TAGS.encode()
_KEYS = message_const.KEYS.encode()
_SHARDING = message_const.SHARDING_KEY.encode()

Span = tuple[int, int]


class SendShape:
    """One of them. `cut` gives pieces in order, in turn one that stays and one that varies; `stays` are the former.

    `pick` takes opaque, topic, queue id, born time and unique key out of the pieces; `tags_at` and `words_at` are the places of
    TAGS and KEYS among them, 0 for none. Units: `properties_start` and `properties_end` in bytes from the header's beginning.
    """

    __slots__ = (
        "code_place",
        "cut",
        "flag",
        "is_fifo",
        "is_json",
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

    def __init__(
        self,
        request: RemotingCommand,
        header: bytes,
        opaque: Span,
        fields: dict[bytes, Span],
        names: tuple[bytes, ...],
        pairs: dict[bytes, Span],
    ) -> None:
        topic, queue_id, born, (start, end) = (fields[name] for name in names[:4])
        picked = [opaque, topic, queue_id, born]
        varying = sorted([*picked, *(span for name, span in pairs.items() if name != _WAIT)])
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
            *(place[span] for span in picked), place[pairs[_UNIQ]]
        )
        self.tags_at = place[pairs[_TAGS]] if _TAGS in pairs else 0
        self.words_at = place[pairs[_KEYS]] if _KEYS in pairs else 0
        self.properties_start, self.properties_end = start, end
        self.is_json = request.serialize_type == SERIALIZE_JSON
        self.is_open = not header.endswith(_SEPARATORS[request.serialize_type][1], start, end)
        self.name_ends, self.pair_ends = len(pairs), len(pairs) - self.is_open
        self.flag, self.sys_flag, self.reconsume_times = (
            int(header[slice(*fields[name])]) if name in fields else 0 for name in names[4:]
        )
        self.is_oneway = request.is_oneway
        self.code_place = 0 if request.code == _SEND else 1
        self.is_fifo = _SHARDING in pairs
        self.waits = _WAIT not in pairs or header[slice(*pairs[_WAIT])].lower() == b"true"

    def properties_in(self, data: bytes, header_at: int) -> bytes | None:
        """The properties of a header that this shape fits; None when there is anything in their values that may not be."""
        properties = data[header_at + self.properties_start : header_at + self.properties_end]
        if self.is_json:
            if (
                properties.count(b"\\") != self.name_ends + self.pair_ends
                or b'"' in properties
                or not (properties.isascii() and properties.decode("ascii").isprintable())
            ):
                return None
            # The right number of each, so these are all the escapes that are there.
            properties = properties.replace(b"\\u0001", b"\x01").replace(b"\\u0002", b"\x02")
        elif not properties.isascii():
            return None
        if properties.count(b"\x01") != self.name_ends or properties.count(b"\x02") != self.pair_ends:
            return None
        return properties


def shape_of(request: RemotingCommand, header: bytes) -> SendShape | None:
    """The shape of a header that was found to be a common send's; None when it is not worth learning."""
    names = _NAMES.get(request.code)
    if names is None or request.remark is not None or len(header) > SHAPE_BYTES_MAX:
        return None
    if request.serialize_type == SERIALIZE_ROCKETMQ:
        opaque: Span | None = _OPAQUE
        fields = _binary_fields(header)
    else:
        opaque, fields = _json_spans(header)
    if opaque is None or fields is None:
        return None
    if request.ext_fields is None or len(fields) != len(request.ext_fields):
        return None
    if not {*names[:4]} <= fields.keys() or b"" in [header[slice(*fields[name])] for name in names[:4]]:
        return None
    pairs = _pairs(header, *fields[names[3]], *_SEPARATORS[request.serialize_type])
    if pairs is None or _UNIQ not in pairs or len(pairs) + 5 > _PIECES_MAX:
        return None
    return SendShape(request, header, opaque, fields, names, pairs)


def _binary_fields(header: bytes) -> dict[bytes, Span] | None:
    """Where the values stand; None when something is not ASCII."""
    if not header[_FIXED.size :].isascii():
        return None
    found: dict[bytes, Span] = {}
    at = _FIXED.size
    end = at + _FIXED.unpack_from(header)[6]
    while at < end:
        name_end = at + 2 + int.from_bytes(header[at : at + 2], "big")
        value_at = name_end + 4
        stop = value_at + int.from_bytes(header[name_end:value_at], "big")
        name = header[at + 2 : name_end]
        if name in found:
            return None
        found[name] = value_at, stop
        at = stop
    return found


def _json_spans(header: bytes) -> tuple[Span | None, dict[bytes, Span] | None]:
    """Where opaque and the values of the fields stand; None unless it is written without spaces, and flat."""
    fields, opaque = _JSON_FIELDS.search(header), _JSON_OPAQUE.search(header)
    if fields is None or opaque is None or not header.isascii() or header.count(b"{") != 2:
        return None, None
    if header.count(b'"opaque"') != 1 or len(opaque[1]) > _OPAQUE_DIGITS_MAX:
        return None, None
    if header.count(b"\\") != header.count(b"\\", *fields.span(1)):
        return None, None  # an escaped name may be any name
    found: dict[bytes, Span] = {}
    for field in _JSON_FIELD.finditer(header, *fields.span(1)):
        if field[1] in found:
            return None, None
        found[field[1]] = field.span(2)
    return opaque.span(1), found


def _pairs(header: bytes, at: int, end: int, name_end: bytes, pair_end: bytes) -> dict[bytes, Span] | None:
    """Where the values of properties stand; None when anything about them is unusual."""
    found: dict[bytes, Span] = {}
    while at < end:
        stop = header.find(pair_end, at, end)
        if stop < 0:
            stop = end
        name, _, value = header[at:stop].partition(name_end)
        if not name or not value or name in found or any(c < 0x20 or c == 0x5C for c in name + value):
            return None
        found[name] = stop - len(value), stop
        at = stop + len(pair_end)
    return found
