"""Cuts a SQL92 filter expression into tokens, one at a time."""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from gantry.errors import FilterExpressionError


class Kind(enum.Enum):
    """What a token is. `KEYWORD` and `SIGN` are told apart further by the token's text."""

    KEYWORD = "a keyword"
    NAME = "a property name"
    INTEGER = "a whole number"
    DECIMAL = "a decimal number"
    STRING = "a quoted string"
    SIGN = "a sign"
    END = "the end"


class Token(NamedTuple):
    """`text` is upper case for keywords and without its quotes for strings. `begin` and `end` are character positions."""

    kind: Kind
    text: str
    begin: int
    end: int


KEYWORDS = frozenset(
    ("NOT", "AND", "OR", "BETWEEN", "IN", "TRUE", "FALSE", "NULL", "IS", "CONTAINS", "STARTSWITH", "ENDSWITH")
)  # fmt: skip

# Everything between tokens. A line comment needs its line end: without one, "--" is twice a minus. A comment that is never
# closed is none either, and its "/" is no token.
_BLANKS_AND_COMMENTS = re.compile(r"(?:[ \t\n\r\f]+|--[^\n\r]*(?:\r\n|\n|\r)|/\*[^*]*\*+(?:[^*/][^*]*\*+)*/)*")
# The same behind the last line end, where every "--" would look for one up to the end.
_BLANKS_AND_BLOCKS = re.compile(r"(?:[ \t\f]+|/\*[^*]*\*+(?:[^*/][^*]*\*+)*/)*")

# The longest token wins, so numbers with a point or an exponent are tried before whole ones. A whole number has no leading
# zeros: 007 are three tokens. A quote in a string is written twice.
_TOKEN = re.compile(
    r"""(?P<name>[A-Za-z_$][A-Za-z0-9_$]*)
      | (?P<decimal>[0-9]+\.[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
      | (?P<integer>0|[1-9][0-9]*[lL]?)
      | (?P<string>'[^']*'(?:'[^']*')*)
      | (?P<sign><>|<=|>=|[=<>(),+-])""",
    re.VERBOSE,
)
_KINDS = {"decimal": Kind.DECIMAL, "integer": Kind.INTEGER, "sign": Kind.SIGN}


class Lexer:
    """The tokens of one expression. Source: SelectorParser.jj (rocketmq-filter 5.5.0), its token definitions."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._last_line = max(expression.rfind("\n"), expression.rfind("\r")) + 1

    def token(self, position: int) -> Token:
        """The token at or after `position`; at the end one of kind END.

        Raises: FilterExpressionError where no token begins.
        """
        expression = self._expression
        between = (_BLANKS_AND_COMMENTS if position < self._last_line else _BLANKS_AND_BLOCKS).match(expression, position)
        begin = position if between is None else between.end()
        if begin >= len(expression):
            return Token(Kind.END, "", begin, begin)
        found = _TOKEN.match(expression, begin)
        if found is None:
            raise FilterExpressionError(
                position=begin, found=expression[begin : begin + 16], reason=_no_token(expression[begin])
            )
        return _token(found)


def _token(found: re.Match[str]) -> Token:
    begin = found.start()
    group, text, end = found.lastgroup, found.group(), found.end()
    if group == "name":
        word = text.upper()
        return Token(Kind.KEYWORD, word, begin, end) if word in KEYWORDS else Token(Kind.NAME, text, begin, end)
    if group == "string":
        return Token(Kind.STRING, text[1:-1].replace("''", "'"), begin, end)
    return Token(_KINDS[group or ""], text, begin, end)


def _no_token(character: str) -> str:
    if character == "'":
        return "this string has no closing quote"
    if character == "/":
        return "a comment is /* closed */, and there is no division"
    if character == "!":
        return "unequal is written <>"
    if character == '"':
        return "strings stand in single quotes"
    return "no token begins with this character"
