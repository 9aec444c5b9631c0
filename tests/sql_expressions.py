"""Expressions and properties for tests of SQL92 filters: sound ones, odd ones, and ones that are nearly right."""

from __future__ import annotations

import random

NAMES = ("a", "b", "c", "A", "price", "$x", "_y1", "TAGS")
NUMBERS = (
    "0", "1", "5", "10", "2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "5L", "2147483648l", "007",
    "0L", "5.5", "5.", ".5", "1e3", "1E-3", "5.0", "0.0", "1e400", "1e-400", "4.9e-324", "2147483647.0", "9007199254740993",
    "9007199254740992.0", "3.14159", "1.e2", "00.5", "100",
)  # fmt: skip
STRINGS = (
    "''",
    "'x'",
    "'5'",
    "'it''s'",
    "'true'",
    "'TRUE'",
    "'5.5'",
    "'a b'",
    "'ä'",
    "'\U0001f600'",
    "'--'",
    "'/*'",
    "''''",
    "'x'''",
)  # fmt: skip
VALUES = (
    "x", "5", "5.5", "-5", "+5", "0", "-0", "-0.0", "0.0", "1000", "1e3", "1E3", "NaN", "-NaN", "Infinity", "-Infinity",
    "true", "TRUE",
    "tRue", "false", "it's", "2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808", "9007199254740993", " 5", "5 ", "\t5.5\n", "1_000", "0x10", "0x1p3", "0x1.8p1d", "0X.8P0f",
    "0x1p99999",
    "5d", "5f", "5.5D", "5L", "1e", ".5", "5.", ".", "+", "-", "e5", "1e400", "-1e400", "1e-400", "inf", "nan", "infinity", "٥",
    "５", "𝟓", "-５", "5" * 40, "0" * 40 + "7", "-" + "0" * 60 + "7", "1" + "0" * 400, "0." + "3" * 60, "a b", "ä",
    "\U0001f600", "--",
    "TRue ", "xx", "ax", "xa", "5.5.5", "1e+3", "1e-3", "--5", "+-5", "'x'", "null", "NULL", "\u00a05", "\u20035",
    "1e99999999999",
    "0e99999999999", "1d ", " 1f", "1dd", "0x", "0xg", "0x.p1", "0x1.p1", "0x1p", "\x1f5\x1f", "4.9e-324", "2.4e-324",
    "3.14159",
)  # fmt: skip
GARBAGE = (
    "", " ", "#", "!", "!=", "\"x\"", "'", "/", "/*", "/* c */", "-- c\n", "-- c", "--", "%", ";", "AND", "OR", "NOT", "(",
    ")", ",",
    "IN", "IS", "NULL", "IS NULL", "BETWEEN", "= 5", "x", "5", "LIKE 'x'", "<", ">=", "<>", "=", "+", "-", "*", "\u00a0",
    "\x00", "é", ".",
    "CONTAINS", "NOT IN ('x')", "[", "\u212a", "ESCAPE", "\t", "\r\n", "--\r\n", "/**/", "/***/", "/* * /*/",
)  # fmt: skip


class Expressions:
    """Random expressions; the same seed gives the same ones. `wild` is the chance that an operand or a part is an odd one."""

    def __init__(self, rng: random.Random, *, wild: float = 0.05) -> None:
        self._rng = rng
        self._wild = wild

    def expression(self, depth: int = 3) -> str:
        text = self._boolean(depth)
        rng = self._rng
        if rng.random() < self._wild:
            at = rng.randrange(len(text) + 1)
            piece = rng.choice(GARBAGE)
            text = text[:at] + rng.choice((piece, f" {piece} ")) + text[at + rng.choice((0, 0, 1, 3)) :]
        if rng.random() < 0.1:
            text = "".join(rng.choice((letter.lower(), letter.upper())) if letter.isascii() else letter for letter in text)
        return text

    def properties(self) -> dict[str, str]:
        rng = self._rng
        return {name: rng.choice(VALUES) for name in NAMES if rng.random() < 0.6}

    def _boolean(self, depth: int) -> str:
        rng = self._rng
        if depth <= 0 or rng.random() < 0.35:
            return self._test(depth)
        kind = rng.random()
        if kind < 0.35:
            return f"{self._boolean(depth - 1)}{self._blank()}AND{self._blank()}{self._boolean(depth - 1)}"
        if kind < 0.7:
            return f"{self._boolean(depth - 1)} OR {self._boolean(depth - 1)}"
        if kind < 0.8:
            return f"NOT ({self._boolean(depth - 1)})"
        if kind < 0.9:
            return f"({self._boolean(depth - 1)})"
        if kind < 0.95:
            return f"({self._boolean(depth - 1)}) {rng.choice(('=', '<>'))} ({self._boolean(depth - 1)})"
        return f"({self._boolean(depth - 1)}) IS {rng.choice(('', 'NOT '))}NULL"

    def _test(self, depth: int) -> str:
        rng = self._rng
        kind = rng.randrange(12)
        left = rng.choice(NAMES) if rng.random() < 0.7 else self._operand(depth)
        if kind < 3:
            return f"{left} {rng.choice(('=', '<>'))} {self._operand(depth)}"
        if kind < 6:
            return f"{left}{self._blank()}{rng.choice(('<', '<=', '>', '>='))}{self._blank()}{self._number_or_name(depth)}"
        if kind == 6:
            return f"{left} IS {rng.choice(('', 'NOT '))}NULL"
        negation = rng.choice(("", "", "NOT "))
        if kind == 7:
            return f"{left} {negation}BETWEEN {self._number_or_name(depth)} AND {self._number_or_name(depth)}"
        if kind == 8:
            members = ", ".join(rng.choice(STRINGS) for _ in range(rng.randrange(1, 7)))
            return f"{left} {negation}IN ({members})"
        if kind < 11:
            return f"{left} {negation}{rng.choice(('CONTAINS', 'STARTSWITH', 'ENDSWITH'))} {rng.choice(STRINGS)}"
        return rng.choice(("TRUE", "FALSE", "NULL", left))

    def _operand(self, depth: int) -> str:
        rng = self._rng
        kind = rng.random()
        if kind < self._wild and depth > -3:
            return self._odd_operand(depth - 1)
        if kind < 0.6:
            return rng.choice(NAMES)
        if kind < 0.75:
            return rng.choice(STRINGS)
        if kind < 0.8:
            return rng.choice(("TRUE", "FALSE"))
        return self._number()

    def _odd_operand(self, depth: int) -> str:
        rng = self._rng
        kind = rng.randrange(8)
        if kind < 2:
            return f"({self._boolean(depth)})"
        if kind < 6:
            return ("-{}", "NOT {}", "(({}))", "- -{}")[kind - 2].format(self._operand(depth))
        return rng.choice(("TRUE", "FALSE", "NULL"))

    def _number_or_name(self, depth: int) -> str:
        rng = self._rng
        kind = rng.random()
        if kind < self._wild:
            return self._operand(depth)
        return rng.choice(NAMES) if kind < 0.3 else self._number()

    def _number(self) -> str:
        return self._rng.choice(("", "", "", "-", "+", "- ", "+-")) + self._rng.choice(NUMBERS)

    def _blank(self) -> str:
        return self._rng.choice((" ", " ", " ", "  ", "\t", "\n", " /* c */ ", " -- c\n "))
