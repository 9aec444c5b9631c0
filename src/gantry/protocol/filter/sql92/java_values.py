"""How the original reads numbers out of property values: text that Java's Integer, Long and Double accept, and no other."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

INTEGER_MIN, INTEGER_MAX = -(1 << 31), (1 << 31) - 1
LONG_MIN, LONG_MAX = -(1 << 63), (1 << 63) - 1

SHORT_TEXT = 32
"""Longer values than this are rare; they take the way that remembers its last answers, so that a long value which many
comparisons look at is read once."""

_DIGITS_MAX = 19  # of a long


class Incomparable(Exception):
    """Two values of a message that the original cannot compare; the message does not match, whatever stands around it."""


def parse_integer(text: str) -> int:
    """Source: Integer.valueOf. Raises: Incomparable."""
    value = _parse_whole(text)
    if INTEGER_MIN <= value <= INTEGER_MAX:
        return value
    raise Incomparable(f"{text[:64]!r} is beyond 32 bits")


def parse_long(text: str) -> int:
    """Source: Long.valueOf. Raises: Incomparable."""
    value = _parse_whole(text)
    if LONG_MIN <= value <= LONG_MAX:
        return value
    raise Incomparable(f"{text[:64]!r} is beyond 64 bits")


def _parse_whole(text: str) -> int:
    # int() alone would take blanks and underscores as well.
    if len(text) <= SHORT_TEXT and text.isascii():
        if text.isdigit() or (text[1:].isdigit() and text[0] in "+-"):
            return int(text)
        raise Incomparable(f"{text!r} is no whole number")
    value = _parse_rare_whole(text)
    if value is None:
        raise Incomparable(f"{text[:64]!r} is no whole number")
    return value


@lru_cache(maxsize=64)
def _parse_rare_whole(text: str) -> int | None:
    """Long or with digits of other scripts, of which Java takes those of the basic plane."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits.isascii():
        plain = [unicodedata.decimal(digit, -1) if digit <= "\uffff" else -1 for digit in digits]
        if -1 in plain:
            return None
        digits = "".join(map(str, plain))
    elif not digits.isdigit():
        return None
    if not digits:
        return None
    digits = digits.lstrip("0")
    value = int(digits or "0") if len(digits) <= _DIGITS_MAX else LONG_MAX + 2  # beyond every range, with either sign
    return -value if text[0] == "-" else value


def parse_double(text: str) -> float:
    """Source: Double.valueOf. Raises: Incomparable."""
    value = _read_double(text) if len(text) <= SHORT_TEXT else _read_long_double(text)
    if value is None:
        raise Incomparable(f"{text[:64]!r} is no number")
    return value


_BLANKS = "".join(map(chr, range(33)))  # what String.trim takes off
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_HEXADECIMAL = re.compile(r"[+-]?0[xX](?:[0-9a-fA-F]+\.?|[0-9a-fA-F]*\.[0-9a-fA-F]+)[pP][+-]?[0-9]+").fullmatch
_NAMED = {name: value for sign, factor in (("", 1.0), ("+", 1.0), ("-", -1.0))
          for name, value in ((sign + "NaN", float("nan")), (sign + "Infinity", factor * float("inf")))}  # fmt: skip


def _read_double(text: str) -> float | None:
    text = text.strip(_BLANKS)
    if text[-1:] in ("d", "D", "f", "F"):
        number = text[:-1]
        # A hexadecimal number ends with its exponent, so such a letter at the end is a suffix in it as well.
        if _DECIMAL(number):
            return float(number)
        return _from_hexadecimal(number) if _HEXADECIMAL(number) else None
    if _DECIMAL(text):
        return float(text)
    if _HEXADECIMAL(text):
        return _from_hexadecimal(text)
    return _NAMED.get(text)


_read_long_double = lru_cache(maxsize=64)(_read_double)


def _from_hexadecimal(text: str) -> float:
    try:
        return float.fromhex(text)
    except OverflowError:
        return float("-inf") if text[0] == "-" else float("inf")


def compare_doubles(left: float, right: float) -> int:
    """Negative, zero or positive. NaN is above everything and equals itself; -0.0 is below 0.0. Source: Double.compare."""
    if left < right:
        return -1
    if left > right:
        return 1
    left_key, right_key = _rank(left), _rank(right)
    return (left_key > right_key) - (left_key < right_key)


def _rank(value: float) -> int:
    if value != value:
        return 2
    if value == 0.0:
        return 0 if str(value)[0] == "-" else 1
    return 1


class Number(NamedTuple):
    """A number of an expression, with the Java type it has there: the type decides how a property is read beside it.

    `parse` reads a property's text as that type. Doubles here are finite and never zero, so that only the other side may be
    NaN, which `read` turns into infinity: it is above every such number, as Double.compare has it.
    """

    value: int | float
    parse: Callable[[str], int | float]

    @property
    def is_double(self) -> bool:
        return self.parse is parse_double

    @property
    def read(self) -> Callable[[str], int | float]:
        """As `parse`, for comparisons with this number by Python's own operators."""
        return read_double if self.parse is parse_double else self.parse

    def negative(self) -> Number:
        return Number(-self.value, self.parse)

    def compare(self, other: Number) -> int:
        if self.is_double or other.is_double:
            return compare_doubles(float(self.value), float(other.value))
        return (self.value > other.value) - (self.value < other.value)


def read_double(text: str) -> float:
    """As parse_double; NaN comes as infinity."""
    value = parse_double(text)
    return value if value == value else float("inf")


def to_boolean(text: str) -> bool:
    """Source: Boolean.valueOf."""
    return len(text) == 4 and text.lower() == "true"
