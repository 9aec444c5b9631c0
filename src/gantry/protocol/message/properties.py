"""The property string of a message: `name 0x01 value 0x02`, repeated.

Shape:  UTF-8, nothing escaped. The 5.x writer ends every pair with 0x02, a 4.x writer leaves the last one out; the reader
        takes both. A pair without 0x01, with an empty name or with an empty value is dropped; of a name that occurs twice
        the last one counts.
Source: MessageDecoder.messageProperties2String, string2messageProperties (5.3).
"""

from __future__ import annotations

from collections.abc import Mapping

from gantry.errors import LocalProtocolError

NAME_VALUE_SEPARATOR = "\x01"
PROPERTY_SEPARATOR = "\x02"
PROPERTIES_SIZE_MAX = 32767

_PAIR_END = b"\x02"
_NAME_END = b"\x01"


def encode_properties(properties: Mapping[str, str]) -> bytes:
    """The stored form of a property map; pairs keep the map's order.

    Raises: LocalProtocolError when a name or value holds one of the two separators: it would read back as other pairs.
    """
    parts: list[str] = []
    for name, value in properties.items():
        parts += (name, NAME_VALUE_SEPARATOR, value, PROPERTY_SEPARATOR)
    text = "".join(parts)
    if text.count(NAME_VALUE_SEPARATOR) != len(properties) or text.count(PROPERTY_SEPARATOR) != len(properties):
        raise LocalProtocolError("a message property contains the reserved character U+0001 or U+0002; it is not sent")
    return text.encode("utf-8", "surrogatepass")


def decode_properties(data: bytes | memoryview | str) -> dict[str, str]:
    """The property map of a stored property string; bytes that are no UTF-8 become U+FFFD, as in Java."""
    text = data if isinstance(data, str) else bytes(data).decode("utf-8", "replace")
    properties: dict[str, str] = {}
    for pair in text.split(PROPERTY_SEPARATOR):
        name, found, value = pair.partition(NAME_VALUE_SEPARATOR)
        if found and name and value:
            properties[name] = value
    return properties


def find_property(data: bytes, name: bytes) -> bytes | None:
    """Value of one property in a stored property string, without building the map; None when it is missing or empty.

    The same answer as `decode_properties(data).get(name)`, for the hot path.
    """
    if name not in data:
        return None
    key = name + _NAME_END
    needle = _PAIR_END + key
    end = len(data)
    while True:
        at = data.rfind(needle, 0, end)
        if at < 0:
            if not data.startswith(key):
                return None
            start = len(key)
        else:
            start = at + len(needle)
        stop = data.find(_PAIR_END, start)
        value = data[start:] if stop < 0 else data[start:stop]
        if value:
            return value
        if at <= 0:
            return None
        # An empty value does not count, so an earlier pair of the same name may; its separator may be this one's start.
        end = at + 1
