"""Java's .properties files: the form of every official configuration file.

Shape: logical lines `key=value`, `key:value` or `key value`; `#` and `!` begin comments; a line that ends in an odd
       number of backslashes goes on in the next one, whose leading blanks are dropped; \\t \\n \\r \\f \\uXXXX are
       escapes, a backslash before anything else is dropped. The last of two equal keys counts.
Source: java.util.Properties.load and store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from gantry.errors import ConfigError

REQUEST_BYTES_MAX = 128 * 1024
"""Properties that a request may carry: all settings of a server are a fifth of it."""

_BLANKS = " \t\f"
_LINE_ENDS = re.compile(r"\r\n|\n|\r")
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_WRITE_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"} | {c: "\\" + c for c in "\\=:#!"}


def decode_properties(data: bytes) -> str:
    """The text of a properties file: UTF-8 when it is that (a byte order mark is dropped), Latin-1 otherwise.

    The official reader takes Latin-1 always, which turns an UTF-8 path into another one; what we write is ASCII, so
    both readers agree on it.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parse_request(data: bytes) -> dict[str, str]:
    """The pairs of a request's body, which is UTF-8. Raises: ConfigError, also for more than REQUEST_BYTES_MAX."""
    if len(data) > REQUEST_BYTES_MAX:
        raise ConfigError(f"properties of {len(data)} bytes, more than {REQUEST_BYTES_MAX}")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"the text is not UTF-8 at byte {error.start}") from None
    return parse_properties(text)


def parse_properties(text: str) -> dict[str, str]:
    """All pairs of a file, in order of first appearance. Values keep trailing blanks, as in Java.

    Raises: ConfigError for a \\u that four hexadecimal digits do not follow, with its line.
    """
    pairs: dict[str, str] = {}
    for number, line in _logical_lines(text):
        key_end, value_begin = _split_at(line)
        try:
            key = _unescape(line[:key_end])
            pairs[key] = _unescape(line[value_begin:])
        except ValueError as e:
            raise ConfigError(f"line {number}: {e}") from e
    return pairs


def format_properties(pairs: Mapping[str, str] | Iterable[tuple[str, str]], *, comment: str | None = None) -> str:
    """A file that parse_properties and java.util.Properties read back as the same pairs; ASCII, one pair per line."""
    lines: list[str] = []
    if comment:
        lines.extend(f"# {_ascii(part)}" for part in comment.splitlines())
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    for key, value in items:
        lines.append(f"{_escape(key, is_key=True)}={_escape(value, is_key=False)}")
    return "".join(line + "\n" for line in lines)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    pending = ""
    continued = False
    first = 0
    for number, raw in enumerate(_LINE_ENDS.split(text), 1):
        line = raw.lstrip(_BLANKS)
        if not continued:
            if not line or line[0] in "#!":
                continue
            first = number
        backslashes = len(line) - len(line.rstrip("\\"))
        continued = backslashes % 2 == 1
        pending += line[:-1] if continued else line
        if not continued:
            if pending:
                yield first, pending
            pending = ""
    if pending:
        yield first, pending


def _split_at(line: str) -> tuple[int, int]:
    """Where the key ends and where the value begins."""
    i = 0
    n = len(line)
    while i < n and line[i] not in _BLANKS and line[i] not in "=:":
        i += 2 if line[i] == "\\" else 1
    i = min(i, n)
    end = i
    while i < n and line[i] in _BLANKS:
        i += 1
    if i < n and line[i] in "=:":
        i += 1
        while i < n and line[i] in _BLANKS:
            i += 1
    return end, i


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    out: list[str] = []
    i = 0
    while i < len(text):
        c = text[i]
        i += 1
        if c != "\\":
            out.append(c)
            continue
        if i == len(text):
            break
        c = text[i]
        i += 1
        if c == "u":
            digits = text[i : i + 4]
            if len(digits) < 4 or not re.fullmatch("[0-9a-fA-F]{4}", digits):
                raise ValueError(f"\\u{digits} is not followed by four hexadecimal digits")
            out.append(chr(int(digits, 16)))
            i += 4
        else:
            out.append(_ESCAPES.get(c, c))
    # Characters beyond the first plane are written as two surrogates.
    return "".join(out).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _escape(text: str, *, is_key: bool) -> str:
    out: list[str] = []
    leading = True
    for c in text:
        if c == " ":
            # In a value only the leading blanks would be lost.
            out.append("\\ " if is_key or leading else " ")
            continue
        leading = False
        out.append(_WRITE_ESCAPES.get(c) or _ascii(c))
    return "".join(out)


def _ascii(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(
        chr(unit) if 0x20 <= unit <= 0x7E else f"\\u{unit:04X}"
        for unit in (int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2))
    )
