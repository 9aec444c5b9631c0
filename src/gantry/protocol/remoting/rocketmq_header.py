"""The ROCKETMQ (binary) form of a command's header.

Shape, big-endian, signed:

    code(2) language(1) version(2) opaque(4) flag(4) remark_length(4) remark ext_length(4) ext

    ext = { key_length(2) key value_length(4) value }*        UTF-8

A code above 32,767 does not fit and is cut to 16 bits by every official peer, so requests with such codes use JSON.
Source: RocketMQSerializable (5.3).
"""

from __future__ import annotations

import struct

from gantry.errors import LocalProtocolError, RemoteProtocolError
from gantry.protocol.remoting.codes import LanguageCode
from gantry.protocol.remoting.json_header import FIELDS_MAX, Parts

_FIXED = struct.Struct(">hbhiii")
_I2 = struct.Struct(">h")
_I4 = struct.Struct(">i")
_SHORT_FIELD = struct.Struct(">hxi")
"""Length of a name of one character, that character, length of its value."""
FIXED_BYTES = 21
_LANGUAGE_MAX = max(LanguageCode)


def decode(header: bytes) -> Parts:
    """code, language, version, opaque, flag, remark, ext_fields.

    Raises: RemoteProtocolError for truncated headers, negative lengths, and text that is not UTF-8.
    """
    size = len(header)
    if size < FIXED_BYTES:
        raise RemoteProtocolError(f"binary header of {size} bytes is shorter than its fixed {FIXED_BYTES} bytes")
    code, language, version, opaque, flag, remark_length = _FIXED.unpack_from(header)
    position = _FIXED.size
    remark: str | None = None
    try:
        if remark_length:
            if remark_length < 0 or remark_length > size - FIXED_BYTES:
                raise RemoteProtocolError(f"binary header: remark length {remark_length} does not fit {size} bytes")
            remark = header[position : position + remark_length].decode()
            position += remark_length
        (ext_length,) = _I4.unpack_from(header, position)
        position += 4
        if ext_length < 0 or ext_length > size - position:
            raise RemoteProtocolError(f"binary header: extension length {ext_length} does not fit {size} bytes")
        if not ext_length:
            fields = None
        elif header.isascii():
            fields = _decode_ascii_fields(header, position, position + ext_length)
        else:
            fields = _decode_fields(header, position, position + ext_length)
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(f"binary header: text is not UTF-8 at byte {error.start}") from None
    if not 0 <= language <= _LANGUAGE_MAX:
        language = LanguageCode.OTHER
    return code, language, version, opaque, flag, remark, fields


def _decode_ascii_fields(header: bytes, position: int, end: int) -> dict[str, str]:
    """As _decode_fields; the text is decoded once, and the short names of a send cost one look each."""
    text = header.decode("ascii")
    fields: dict[str, str] = {}
    unpack = _SHORT_FIELD.unpack_from
    begin = position
    while end - position >= _SHORT_FIELD.size:
        name_length, length = unpack(header, position)
        if name_length != 1:
            break
        stop = position + 7 + length
        if length < 0 or stop > end or len(fields) >= FIELDS_MAX:
            break
        fields[text[position + 2]] = text[position + 7 : stop]
        position = stop
    if position < end:
        # Longer names, or something is wrong, which the long way finds and says.
        rest = _decode_fields(header, position if len(fields) < FIELDS_MAX else begin, end)
        fields.update(rest)
    return fields


def _decode_fields(header: bytes, position: int, end: int) -> dict[str, str]:
    fields: dict[str, str] = {}
    count = 0
    while position < end:
        count += 1
        if count > FIELDS_MAX:
            raise RemoteProtocolError(f"binary header has more than {FIELDS_MAX} extension fields")
        if end - position < 2:
            raise RemoteProtocolError("binary header: extension block ends inside a key length")
        (length,) = _I2.unpack_from(header, position)
        position += 2
        if length < 0 or length > end - position - 4:
            raise RemoteProtocolError(f"binary header: key length {length} does not fit the extension block")
        key = header[position : position + length].decode()
        position += length
        (length,) = _I4.unpack_from(header, position)
        position += 4
        if length < 0 or length > end - position:
            raise RemoteProtocolError(f"binary header: value length {length} does not fit the extension block")
        fields[key] = header[position : position + length].decode()
        position += length
    return fields


def encode(
    code: int,
    language: int,
    version: int,
    opaque: int,
    flag: int,
    remark: str | None,
    ext_fields: dict[str, str] | None,
) -> bytes:
    """Fields in the order of `ext_fields`.

    Raises: LocalProtocolError when the code or a key does not fit 16 bits.
    """
    if not -0x8000 <= code <= 0x7FFF:
        raise LocalProtocolError(f"code {code} does not fit the 16 bits of a binary header; send it with a JSON header")
    # Half a surrogate pair becomes a question mark, as in the JSON form.
    remark_bytes = remark.encode(errors="replace") if remark else b""
    parts = [b"", remark_bytes, b""]
    ext_length = 0
    if ext_fields:
        for key, value in ext_fields.items():
            key_bytes, value_bytes = key.encode(errors="replace"), value.encode(errors="replace")
            if len(key_bytes) > 0x7FFF:
                raise LocalProtocolError(f"extension field name of {len(key_bytes)} bytes does not fit 16 bits")
            parts += (_I2.pack(len(key_bytes)), key_bytes, _I4.pack(len(value_bytes)), value_bytes)
            ext_length += 6 + len(key_bytes) + len(value_bytes)
    parts[0] = _FIXED.pack(code, language, version, opaque, flag, len(remark_bytes))
    parts[2] = _I4.pack(ext_length)
    return b"".join(parts)
