"""The JSON form of a command's header.

Shape:  one UTF-8 object with code, language, version, opaque, flag, remark, extFields, serializeTypeCurrentRPC;
        absent members are omitted. Reading is lenient, because real clients send numbers, booleans and null as
        extension values, leave members out, and name languages we never heard of. Writing is strict: every extension
        value is a string.
Source: RemotingSerializable, RemotingCommand (5.3); observed clients.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from gantry.errors import RemoteProtocolError
from gantry.protocol.remoting.codes import LanguageCode

FIELDS_MAX = 1024
DEPTH_MAX = 16

Parts = tuple[int, int, int, int, int, str | None, dict[str, str] | None]


class _Header(msgspec.Struct, rename={"ext_fields": "extFields"}):
    code: int = 0
    language: Any = None
    version: int = 0
    opaque: int = 0
    flag: int = 0
    remark: Any = None
    ext_fields: Any = None


_decoder = msgspec.json.Decoder(_Header)
_encode = msgspec.json.Encoder().encode
_LANGUAGES: dict[str, int] = {code.name: int(code) for code in LanguageCode}
_LANGUAGE_NAMES: tuple[str, ...] = tuple(code.name for code in LanguageCode)
_INT32_MIN, _INT32_MAX = -(1 << 31), (1 << 31) - 1


def decode(header: bytes) -> Parts:
    """code, language, version, opaque, flag, remark, ext_fields.

    Raises: RemoteProtocolError for anything that is not such an object or exceeds a bound.
    """
    try:
        value = _decoder.decode(header)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"JSON header of {len(header)} bytes does not parse: {error}") from None
    for name in ("code", "version", "opaque", "flag"):
        if not _INT32_MIN <= getattr(value, name) <= _INT32_MAX:
            raise RemoteProtocolError(f"JSON header member {name} does not fit 32 bits")
    language = value.language
    if isinstance(language, str):
        language = _LANGUAGES.get(language, LanguageCode.OTHER)
    else:
        language = LanguageCode.OTHER
    remark = value.remark
    if remark is not None and not isinstance(remark, str):
        remark = _text(remark)
    fields = value.ext_fields
    if fields is None:
        return value.code, language, value.version, value.opaque, value.flag, remark, None
    if not isinstance(fields, dict):
        raise RemoteProtocolError("JSON header member extFields is not an object")
    if len(fields) > FIELDS_MAX:
        raise RemoteProtocolError(f"JSON header has {len(fields)} extension fields, more than {FIELDS_MAX}")
    if any(type(item) is not str for item in fields.values()):
        fields = {key: _text(entry) for key, entry in fields.items() if entry is not None}
    return value.code, language, value.version, value.opaque, value.flag, remark, fields


def _text(value: Any) -> str:
    """An extension value that is not a string, as the text the Java reader would make of it."""
    if isinstance(value, str):
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, (int, float)):
        return str(value)
    _check_depth(value, DEPTH_MAX)
    return _encode(value).decode()


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise RemoteProtocolError(f"JSON header is nested deeper than {DEPTH_MAX}")
    if isinstance(value, dict):
        for item in value.values():
            _check_depth(item, left - 1)
    elif isinstance(value, list):
        for item in value:
            _check_depth(item, left - 1)


def encode(
    code: int,
    language: int,
    version: int,
    opaque: int,
    flag: int,
    remark: str | None,
    ext_fields: dict[str, str] | None,
) -> bytes:
    """Members in the order the official encoder writes them (sorted by name)."""
    value: dict[str, Any] = {"code": code}
    if ext_fields is not None:
        value["extFields"] = ext_fields
    value["flag"] = flag
    value["language"] = _LANGUAGE_NAMES[language] if 0 <= language < len(_LANGUAGE_NAMES) else "OTHER"
    value["opaque"] = opaque
    if remark is not None:
        value["remark"] = remark
    value["serializeTypeCurrentRPC"] = "JSON"
    value["version"] = version
    try:
        return _encode(value)
    except UnicodeEncodeError:
        # Half a surrogate pair, which a peer can send escaped in a body and which a remark then repeats, has no UTF-8 form.
        # As in Java it becomes a question mark: an answer that cannot be written would leave its requester waiting.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
