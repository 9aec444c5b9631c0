"""The JSON that official brokers, name servers and tools write and read (fastjson 1.2): a superset of the standard.

What differs from the standard, on reading:
  * integer keys may stand unquoted:              {0:"a"}
  * whole objects may be keys:                    {{"brokerName":"b","queueId":0,"topic":"T"}:5}
  * a repeated object may be a reference:         {"$ref":"$.some.path"}  (kept as it is; callers that care resolve it)
On writing, official peers write keys sorted, no spaces, no members that are null, and integer and object keys bare.

Standard text takes the fast way through msgspec; only what that refuses is read by the tolerant parser here.
Source: RemotingSerializable, fastjson 1.2.83 as used by 5.3; recorded bodies in tests/vectors/golden.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar, cast

import msgspec

from gantry.errors import RemoteProtocolError
from gantry.model.message import MessageQueue

T = TypeVar("T")

DEPTH_MAX = 64

REQUEST_BYTES_MAX = 1024 * 1024
"""A JSON body that a client may send; the largest real ones (a heartbeat of thousands of groups) are a third of it."""

REQUEST_OBJECTS_MAX = 20_000
"""Objects in such a body. Three bytes make an empty one, and each of those that is asked for takes a few hundred here."""

REQUEST_VALUES_MAX = 10_000
"""Values of a body that is not what its reader expects at once, so that each of them is looked at in Python: with its key
each costs up to 4 us, and two bytes may ask for one."""

_standard = msgspec.json.Decoder()
_typed: dict[Any, msgspec.json.Decoder[Any]] = {}
_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"(-?[0-9]+)(\.[0-9]+)?([eE][+-]?[0-9]+)?[LlDdFfSsBb]?")
_WORD = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_scan_string = json.decoder.scanstring  # type: ignore[attr-defined]
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "NaN": None, "undefined": None}


def decode(data: bytes | bytearray | memoryview) -> Any:
    """Plain dicts, lists, strings, numbers.

    Keys: text stays text (also quoted integers), bare integers become int, an object key becomes a MessageQueue when
    it has that shape, else its own compact JSON text.
    Raises: RemoteProtocolError for anything else, and for nesting deeper than DEPTH_MAX.
    """
    try:
        return _standard.decode(data)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        text = bytes(data).decode()
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(f"JSON body is not UTF-8 at byte {error.start}") from None
    reader = _Reader(text)
    value = reader.value(0)
    reader.space()
    if reader.position != len(text):
        raise reader.error("more text after the value")
    return value


def decode_as(data: bytes | bytearray | memoryview, kind: type[T], *, values_max: int | None = None) -> T:
    """decode() and convert() in one step.

    What `kind` does not declare is passed over without being built, so that a body costs no more memory than what is
    asked of it; only one that does not fit at once is taken apart value by value.
    Raises: RemoteProtocolError, also when such a body may have more than `values_max` values.
    """
    value = decode_standard(data, kind)
    if value is not None:
        return value
    if values_max is not None:
        check_values(data, values_max)
    return convert(decode(data), kind)


def decode_standard(data: bytes | bytearray | memoryview, kind: type[T]) -> T | None:
    """The short way: standard text of exactly this type, read without building anything else; None when it is not."""
    decoder = _typed.get(kind)
    if decoder is None:
        decoder = _typed[kind] = msgspec.json.Decoder(kind, strict=False)
    try:
        return cast("T", decoder.decode(data))
    except (msgspec.DecodeError, RecursionError):
        return None


def decode_request(data: bytes, kind: type[T], *, bytes_max: int = REQUEST_BYTES_MAX) -> T:
    """decode_as() for what anybody may send: bounded in length and in the work it asks for.

    Raises: RemoteProtocolError.
    """
    check_size(data, bytes_max)
    return decode_as(data, kind, values_max=REQUEST_VALUES_MAX)


def check_size(data: bytes, bytes_max: int = REQUEST_BYTES_MAX) -> None:
    """Raises: RemoteProtocolError for a longer body, or one of very many objects."""
    if len(data) > bytes_max:
        raise RemoteProtocolError(f"JSON body of {len(data)} bytes, more than {bytes_max}")
    count = data.count(b"{")
    if count > REQUEST_OBJECTS_MAX:
        raise RemoteProtocolError(f"JSON body of {len(data)} bytes may have {count} objects, more than {REQUEST_OBJECTS_MAX}")


def check_values(data: bytes | bytearray | memoryview, values_max: int) -> None:
    """Refuses a body before it is taken apart. Every value but the first stands behind one of three characters.

    Raises: RemoteProtocolError.
    """
    text = bytes(data)
    count = text.count(b",") + text.count(b"[") + text.count(b"{")
    if count > values_max:
        raise RemoteProtocolError(f"JSON body of {len(text)} bytes may have {count} values, more than {values_max}")


def convert(value: Any, kind: type[T]) -> T:
    """Reads decoded JSON as a declared type: unknown members ignored, numbers in strings accepted, null is absent.

    Raises: RemoteProtocolError naming the member.
    """
    try:
        return msgspec.convert(_without_null(value), kind, strict=False)
    except msgspec.ValidationError as error:
        raise RemoteProtocolError(f"JSON body is not a {kind.__name__}: {error}") from None
    except UnicodeEncodeError:
        raise RemoteProtocolError(f"JSON body is not a {kind.__name__}: it has half a surrogate pair") from None


def _without_null(value: Any, depth: int = 0) -> Any:
    if depth > DEPTH_MAX:
        raise RemoteProtocolError(f"JSON body is nested deeper than {DEPTH_MAX}")
    if isinstance(value, dict):
        return {key: _without_null(item, depth + 1) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_null(item, depth + 1) for item in value]
    return value


class _Reader:
    """Recursive descent over the tolerant grammar."""

    __slots__ = ("position", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def error(self, what: str) -> RemoteProtocolError:
        return RemoteProtocolError(f"JSON body, character {self.position} of {len(self.text)}: {what}")

    def space(self) -> None:
        match = _SPACE.match(self.text, self.position)
        if match is not None:
            self.position = match.end()

    def peek(self) -> str:
        """The next character that is no space, which stays where it is."""
        try:
            first = self.text[self.position]
            if first in " \t\r\n":
                self.space()
                first = self.text[self.position]
        except IndexError:
            raise self.error("the text ends inside a value") from None
        return first

    def take(self, wanted: str) -> None:
        if self.peek() != wanted:
            raise self.error(f"expected {wanted!r}")
        self.position += 1

    def value(self, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise self.error(f"nested deeper than {DEPTH_MAX}")
        first = self.peek()
        if first == "{":
            return self.object(depth)
        if first == "[":
            return self.array(depth)
        if first in "\"'":
            return self.string(first)
        if first in "-0123456789":
            return self.number()
        word = _WORD.match(self.text, self.position)
        if word is None or word.group() not in _WORDS:
            raise self.error("no value begins like this")
        self.position = word.end()
        return _WORDS[word.group()]

    def string(self, quote: str) -> str:
        if quote == "'":
            end = self.text.find("'", self.position + 1)
            if end < 0:
                raise self.error("the string does not end")
            result = self.text[self.position + 1 : end]
            self.position = end + 1
            return result
        try:
            text, self.position = _scan_string(self.text, self.position + 1, False)
        except ValueError as error:
            raise self.error(str(error)) from None
        return str(text)

    def number(self) -> int | float:
        match = _NUMBER.match(self.text, self.position)
        if match is None:
            raise self.error("not a number")
        self.position = match.end()
        digits, fraction, exponent = match.groups()
        if fraction or exponent:
            return float(digits + (fraction or "") + (exponent or ""))
        if len(digits) > 40:
            raise self.error(f"number of {len(digits)} digits")
        return int(digits)

    def array(self, depth: int) -> list[Any]:
        self.take("[")
        items: list[Any] = []
        follows = self.peek()
        while follows != "]":
            items.append(self.value(depth + 1))
            follows = self.peek()
            if follows == ",":
                self.position += 1
                follows = self.peek()
            elif follows != "]":
                raise self.error("expected ',' or ']'")
        self.position += 1
        return items

    def object(self, depth: int) -> dict[Any, Any]:
        self.take("{")
        members: dict[Any, Any] = {}
        follows = self.peek()
        while follows != "}":
            key = self.key(depth + 1)
            self.take(":")
            members[key] = self.value(depth + 1)
            follows = self.peek()
            if follows == ",":
                self.position += 1
                follows = self.peek()
            elif follows != "}":
                raise self.error("expected ',' or '}'")
        self.position += 1
        return members

    def key(self, depth: int) -> Any:
        first = self.peek()
        if first in "\"'":
            return self.string(first)
        if first == "{":
            if depth > DEPTH_MAX:
                raise self.error(f"nested deeper than {DEPTH_MAX}")
            return object_key(self.object(depth))
        if first in "-0123456789":
            return self.number()
        word = _WORD.match(self.text, self.position)
        if word is None:
            raise self.error("expected a key")
        self.position = word.end()
        return word.group()


def object_key(members: dict[Any, Any]) -> Any:
    """What an object used as a key becomes: a MessageQueue when it looks like one, else its JSON text."""
    if members.keys() == {"brokerName", "queueId", "topic"}:
        try:
            return msgspec.convert(members, MessageQueue, strict=False)
        except (msgspec.ValidationError, UnicodeEncodeError):
            pass
    return encode(members).decode()


def message_queue_key(key: Any) -> MessageQueue | None:
    """A key of a queue-keyed map, whichever way it was written (bare object or quoted JSON text)."""
    if isinstance(key, MessageQueue):
        return key
    if isinstance(key, str) and key.startswith("{"):
        try:
            found = object_key(decode(key.encode()))
        except (RemoteProtocolError, ValueError, TypeError):
            return None
        return found if isinstance(found, MessageQueue) else None
    return None


def encode(value: Any, *, quote_integer_keys: bool = False, ascii_only: bool = False, pretty: bool = False) -> bytes:
    """The official writing: keys sorted, no spaces, null members left out, integer and object keys bare.

    quote_integer_keys and ascii_only give the standard form that newer peers ask of a route. `pretty` is the form of
    the config files: a tab per level. Structs are written under their wire names.
    """
    out: list[str] = []
    writer = _PrettyWriter if pretty else _Writer
    writer(out, quote_integer_keys, ascii_only).write(value, 0)
    # Half a surrogate pair, which a peer can send escaped, has no UTF-8 form. As in Java it becomes a question mark: one such
    # name must not make every list that contains it unwritable.
    return "".join(out).encode(errors="replace")


class _Writer:
    __slots__ = ("dump", "out", "quote_integer_keys")

    def __init__(self, out: list[str], quote_integer_keys: bool, ascii_only: bool) -> None:
        self.out = out
        self.quote_integer_keys = quote_integer_keys
        self.dump = json.encoder.encode_basestring_ascii if ascii_only else json.encoder.encode_basestring

    def write(self, value: Any, depth: int) -> None:
        out = self.out
        if value is None:
            out.append("null")
        elif value is True:
            out.append("true")
        elif value is False:
            out.append("false")
        elif isinstance(value, str):
            out.append(self.dump(value))
        elif isinstance(value, int):
            out.append(str(int(value)))
        elif isinstance(value, float):
            out.append(repr(value))
        elif isinstance(value, dict):
            self.object(value, depth)
        elif isinstance(value, (list, tuple, set, frozenset)):
            self.array(value if isinstance(value, (list, tuple)) else sorted(value), depth)
        elif isinstance(value, msgspec.Struct):
            self.object(_members(value), depth)
        else:
            raise TypeError(f"{type(value).__name__} has no JSON form")

    def key(self, key: Any, depth: int) -> None:
        if isinstance(key, str):
            self.out.append(self.dump(key))
        elif isinstance(key, int):
            self.out.append(f'"{key}"' if self.quote_integer_keys else str(int(key)))
        else:
            self.write(key, depth)

    def object(self, members: dict[Any, Any], depth: int) -> None:
        out = self.out
        out.append("{")
        first = True
        for key in _sorted_keys(members):
            item = members[key]
            if item is None:
                continue
            if not first:
                out.append(",")
            first = False
            self.key(key, depth)
            out.append(":")
            self.write(item, depth + 1)
        out.append("}")

    def array(self, items: list[Any] | tuple[Any, ...], depth: int) -> None:
        out = self.out
        out.append("[")
        for index, item in enumerate(items):
            if index:
                out.append(",")
            self.write(item, depth + 1)
        out.append("]")


class _PrettyWriter(_Writer):
    """A tab per level and a line per member, as the official config files have it."""

    __slots__ = ()

    def object(self, members: dict[Any, Any], depth: int) -> None:
        out = self.out
        present = [key for key in _sorted_keys(members) if members[key] is not None]
        if not present:
            out.append("{}")
            return
        indent = "\n" + "\t" * (depth + 1)
        out.append("{")
        for index, key in enumerate(present):
            if index:
                out.append(",")
            out.append(indent)
            self.key(key, depth)
            out.append(":")
            self.write(members[key], depth + 1)
        out.append("\n" + "\t" * depth + "}")

    def array(self, items: list[Any] | tuple[Any, ...], depth: int) -> None:
        out = self.out
        if not items or isinstance(items, tuple):
            super().array(items, depth)  # a tuple stands for what is an array of numbers in Java, written in one line
            return
        indent = "\n" + "\t" * (depth + 1)
        out.append("[")
        for index, item in enumerate(items):
            if index:
                out.append(",")
            out.append(indent)
            self.write(item, depth + 1)
        out.append("\n" + "\t" * depth + "]")


def _members(value: msgspec.Struct) -> dict[str, Any]:
    kind = type(value)
    return {
        wire_name: getattr(value, name)
        for name, wire_name in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    }


def _sorted_keys(members: dict[Any, Any]) -> list[Any]:
    try:
        return sorted(members)
    except TypeError:
        return sorted(members, key=lambda key: (type(key).__name__, str(key)))
