"""Reads a SQL92 filter expression into its tree.

The grammar, loosest first: OR; AND; = <> IS [NOT] NULL; the orderings, [NOT] BETWEEN, [NOT] IN, [NOT] CONTAINS and their like;
then + - NOT before an operand, which is a constant, a property or a parenthesis. NOT binds closer than any comparison.

The original stops where its grammar does: what follows is ignored, as long as its first token can be read. So do we, for a
subscription that works there must work here; `Parsed.ignored_from` says where, for a warning.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from gantry.errors import FilterExpressionError

from .java_values import INTEGER_MAX, LONG_MAX, Number, parse_double, parse_integer, parse_long
from .lexer import Kind, Lexer, Token
from .nodes import (
    Among,
    Cast,
    Constant,
    Equal,
    Junction,
    Negated,
    Node,
    Not,
    Ordered,
    Property,
    Text,
    is_boolean,
    number_of,
)

LENGTH_MAX = 32 * 1024
"""Characters of an expression."""

PARENTHESES_MAX = 100
"""Parentheses within each other: each is some calls of this parser. The original ends with its thread's stack."""

DEPTH_MAX = 200
"""Levels of the tree: each is one call when a message is looked at."""

TESTS_MAX = 1024
"""Comparisons in an expression, BETWEEN counting as two, CONTAINS as four and IN, however long, as one: bounds what a message
costs."""

_ORDERINGS = ("<", "<=", ">", ">=")
_TEXT_KEYWORDS = ("CONTAINS", "STARTSWITH", "ENDSWITH")
_CONTAINS_TESTS = 4
_CONSTANTS = {"TRUE": True, "FALSE": False, "NULL": None}


class Parsed(NamedTuple):
    """`tests` is the number of comparisons, `names` are the properties it looks at, in the order they come; `ignored_from`
    is the position of what follows the expression, -1 for nothing."""

    root: Node
    tests: int
    names: tuple[str, ...]
    ignored_from: int


def parse(expression: str) -> Parsed:
    """Raises: FilterExpressionError."""
    if len(expression) > LENGTH_MAX:
        raise FilterExpressionError(
            position=LENGTH_MAX,
            found=expression[LENGTH_MAX : LENGTH_MAX + 16],
            reason=f"{len(expression)} characters are more than {LENGTH_MAX}",
        )
    return _Parser(expression).parse()


class _Parser:
    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._lexer = Lexer(expression)
        self._token = self._lexer.token(0)
        self._parentheses = 0
        self._tests = 0
        self._names: dict[str, None] = {}

    def parse(self) -> Parsed:
        root = self._as_boolean(self._disjunction())
        ignored = -1 if self._token.kind is Kind.END else self._token.begin
        return Parsed(root, max(self._tests, 1), tuple(self._names), ignored)

    # -- tokens

    def _advance(self) -> Token:
        token = self._token
        self._token = self._lexer.token(token.end)
        return token

    def _is(self, *texts: str) -> bool:
        token = self._token
        return token.text in texts and (token.kind is Kind.KEYWORD or token.kind is Kind.SIGN)

    def _expect(self, text: str, context: str) -> None:
        if not self._is(text):
            self._refuse_token(f"expected {text} {context}")
        self._advance()

    def _expect_string(self, after: str) -> str:
        if self._token.kind is not Kind.STRING:
            self._refuse_token(f"expected a quoted string after {after}")
        return self._advance().text

    def _refuse_token(self, reason: str) -> NoReturn:
        token = self._token
        raise FilterExpressionError(position=token.begin, found=self._expression[token.begin : token.end][:64], reason=reason)

    def _refuse(self, node: Node, reason: str) -> NoReturn:
        raise FilterExpressionError(
            position=node.position, found=self._expression[node.position : self._token.begin].rstrip()[:64], reason=reason
        )

    # -- the grammar

    def _disjunction(self) -> Node:
        left = self._conjunction()
        if not self._is("OR"):
            return left
        parts = [left]
        while self._is("OR"):
            self._advance()
            parts.append(self._conjunction())
        return self._junction(False, parts)

    def _conjunction(self) -> Node:
        left = self._equality()
        if not self._is("AND"):
            return left
        parts = [left]
        while self._is("AND"):
            self._advance()
            parts.append(self._equality())
        return self._junction(True, parts)

    def _junction(self, conjunction: bool, operands: list[Node]) -> Node:
        parts: list[Node] = []
        for operand in operands:
            part = self._as_boolean(operand)
            if isinstance(part, Junction) and part.conjunction is conjunction:
                parts += part.parts
            else:
                parts.append(part)
        return Junction(self._above(*parts), parts[0].position, conjunction, tuple(parts))

    def _equality(self) -> Node:
        left = self._comparison()
        while True:
            if self._is("=", "<>"):
                sign = self._advance().text
                right = self._comparison()
                left = self._equal(left, right)
                if sign == "<>":
                    left = Not(self._above(left), left.position, left)
            elif self._is("IS"):
                self._advance()
                negated = self._is("NOT")
                if negated:
                    self._advance()
                self._expect("NULL", "after IS NOT" if negated else "or NOT NULL after IS")
                self._count()
                null = Constant(1, left.position, None)
                left = Equal(self._above(left), left.position, left, null)
                if negated:
                    left = Not(self._above(left), left.position, left)
            else:
                return left

    def _comparison(self) -> Node:
        left = self._unary()
        while True:
            if self._is(*_ORDERINGS):
                sign = self._advance().text
                left = self._ordered(sign, left, self._unary())
                continue
            negated = self._is("NOT")
            if negated:
                self._advance()
            if self._is(*_TEXT_KEYWORDS):
                keyword = self._advance().text
                search = self._expect_string(keyword)
                self._count(_CONTAINS_TESTS if keyword == "CONTAINS" else 1)
                left = Text(self._above(left), left.position, keyword, negated, left, search)
            elif self._is("BETWEEN"):
                left = self._between(left, negated)
            elif self._is("IN"):
                left = self._among(left, negated)
            elif negated:
                self._refuse_token("expected BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH after NOT")
            else:
                return left

    def _unary(self) -> Node:
        prefixes: list[Token] = []
        while self._is("+", "-", "NOT"):
            prefixes.append(self._advance())
        node = self._primary()
        for prefix in reversed(prefixes):
            if prefix.text == "-":
                node = self._negated(node, prefix.begin)
            elif prefix.text == "NOT":
                node = self._not(node, prefix.begin)
        return node

    def _primary(self) -> Node:
        token = self._token
        kind = token.kind
        if kind is Kind.NAME:
            self._names[token.text] = None
            return Property(1, token.begin, self._advance().text)
        if kind is Kind.STRING:
            return Constant(1, token.begin, self._advance().text)
        if kind is Kind.INTEGER:
            return Constant(1, token.begin, self._whole_number())
        if kind is Kind.DECIMAL:
            return Constant(1, token.begin, self._decimal_number())
        if kind is Kind.KEYWORD and token.text in _CONSTANTS:
            return Constant(1, token.begin, _CONSTANTS[self._advance().text])
        if not self._is("("):
            self._refuse_token("expected a property, a number, a string, TRUE, FALSE, NULL or an opening parenthesis")
        if self._parentheses == PARENTHESES_MAX:
            self._refuse_token(f"parentheses are more than {PARENTHESES_MAX} deep")
        self._advance()
        self._parentheses += 1
        node = self._disjunction()
        self._parentheses -= 1
        self._expect(")", "or an operator")
        return node

    # -- what may stand where

    def _above(self, *nodes: Node) -> int:
        """Depth of a node over these."""
        depth = 1 + max(node.depth for node in nodes)
        if depth > DEPTH_MAX:
            self._refuse(nodes[0], f"operators are more than {DEPTH_MAX} deep")
        return depth

    def _count(self, tests: int = 1) -> None:
        self._tests += tests
        if self._tests > TESTS_MAX:
            self._refuse_token(f"the comparisons before this are more than {TESTS_MAX}")

    def _as_boolean(self, node: Node) -> Node:
        if isinstance(node, Property):
            self._count()
            return Cast(1, node.position, node.name)
        if not is_boolean(node):
            self._refuse(node, "expected a comparison: this gives no TRUE or FALSE")
        return node

    def _equal(self, left: Node, right: Node) -> Node:
        for operand in (left, right):
            if isinstance(operand, Constant) and operand.value is None:
                self._refuse(operand, "NULL cannot be compared; write IS NULL or IS NOT NULL")
        if isinstance(left, Constant) and isinstance(right, Constant) and is_boolean(left) and not is_boolean(right):
            self._refuse(left, "a boolean constant cannot be compared with this one")
        self._count()
        return Equal(self._above(left, right), left.position, left, right)

    def _ordered(self, sign: str, left: Node, right: Node) -> Node:
        for operand in (left, right):
            if is_boolean(operand) or (isinstance(operand, Constant) and not isinstance(operand.value, Number)):
                self._refuse(operand, f"only numbers and properties can be compared by {sign}")
        self._count()
        return Ordered(self._above(left, right), left.position, sign, left, right)

    def _between(self, left: Node, negated: bool) -> Node:
        self._advance()
        low = self._unary()
        self._expect("AND", "between the two bounds of BETWEEN")
        high = self._unary()
        if negated:
            return self._junction(False, [self._ordered("<", left, low), self._ordered(">", left, high)])
        if isinstance(low, Constant) and isinstance(high, Constant):
            # Only of bounds without a sign: a negated number is no constant to the original.
            first, last = number_of(low), number_of(high)
            if first is not None and last is not None and last.compare(first) < 0:
                self._refuse(low, f"the bounds of BETWEEN are the wrong way round: {first.value} is above {last.value}")
        return self._junction(True, [self._ordered(">=", left, low), self._ordered("<=", left, high)])

    def _among(self, left: Node, negated: bool) -> Node:
        self._advance()
        self._expect("(", "after IN")
        members = {self._expect_string("IN (")}
        while self._is(","):
            self._advance()
            members.add(self._expect_string("the comma"))
        self._expect(")", "or a comma in the list of IN")
        if not isinstance(left, Property):
            self._refuse(left, "expected a property before IN")
        self._count()
        return Among(1, left.position, left.name, negated, frozenset(members))

    def _negated(self, operand: Node, position: int) -> Node:
        number = number_of(operand)
        if number is not None:
            return Negated(1, position, operand, number.negative())
        if isinstance(operand, Negated):
            return operand  # unknown already
        return Negated(self._above(operand), position, operand, None)

    def _not(self, operand: Node, position: int) -> Node:
        operand = self._as_boolean(operand)
        if isinstance(operand, Not) and isinstance(operand.operand, Not):
            return operand.operand  # any two undo each other; two must be left, for they hide that a constant is one
        return Not(self._above(operand), position, operand)

    # -- numbers

    def _whole_number(self) -> Number:
        text = self._token.text.rstrip("lL")
        if len(text) > len(str(LONG_MAX)) or (value := int(text)) > LONG_MAX:
            self._refuse_token(f"whole numbers end at {LONG_MAX}")
        self._advance()
        return Number(value, parse_integer if value <= INTEGER_MAX else parse_long)

    def _decimal_number(self) -> Number:
        value = float(self._token.text)
        if value == float("inf"):
            self._refuse_token("a decimal number this large is beyond a double")
        if value == 0.0:
            self._refuse_token("a decimal number must be above zero; write 0 for zero")
        self._advance()
        return Number(value, parse_double)
