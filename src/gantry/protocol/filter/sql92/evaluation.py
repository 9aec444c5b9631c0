"""Turns the tree of an expression into one function over a message's properties: made once, called per message.

A function gives TRUE, FALSE or None (unknown), three-valued as in SQL: unknown AND FALSE is FALSE, unknown OR TRUE is
TRUE, else unknown stays. It raises Incomparable where the original throws, which ends the whole evaluation: `NOT (a > 5)`
does not match a message whose `a` is no number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from .java_values import Incomparable, Number, compare_doubles, parse_double, to_boolean
from .nodes import Among, Cast, Constant, Equal, Junction, Negated, Node, Not, Ordered, Property, Text, number_of

Properties = Mapping[str, str]
Test = Callable[[Properties], bool | None]
Value = Callable[[Properties], Any]

_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_SEARCHES: dict[str, Callable[[str, str], bool]] = {
    "CONTAINS": str.__contains__, "STARTSWITH": str.startswith, "ENDSWITH": str.endswith,
}  # fmt: skip
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def compile_node(node: Node) -> Value:
    """The function of a node. For boolean nodes it is a Test."""
    return _COMPILERS[type(node)](node)


def _constant(node: Constant) -> Value:
    value = node.value
    return lambda properties: value


def _property(node: Property) -> Value:
    name = node.name
    return lambda properties: properties.get(name)


def _negated(node: Negated) -> Value:
    number = node.number
    if number is not None:
        return lambda properties: number
    operand = compile_node(node.operand)

    def unknown(properties: Properties) -> None:
        operand(properties)  # it may be what cannot be compared

    return unknown


def _cast(node: Cast) -> Test:
    name = node.name
    return lambda properties: None if properties.get(name) is None else False


def _not(node: Not) -> Test:
    operand: Test = compile_node(node.operand)

    def test(properties: Properties) -> bool | None:
        value = operand(properties)
        return None if value is None else not value

    return test


def _junction(node: Junction) -> Test:
    parts: tuple[Test, ...] = tuple(compile_node(part) for part in node.parts)
    deciding = not node.conjunction  # AND ends at the first FALSE, OR at the first TRUE
    otherwise = node.conjunction
    if len(parts) == 2:
        first, second = parts

        def test_two(properties: Properties) -> bool | None:
            left = first(properties)
            if left is deciding:
                return deciding
            right = second(properties)
            if right is deciding:
                return deciding
            return None if left is None or right is None else otherwise

        return test_two

    def test(properties: Properties) -> bool | None:
        answer: bool | None = otherwise
        for part in parts:
            value = part(properties)
            if value is deciding:
                return deciding
            if value is None:
                answer = None
        return answer

    return test


# -- equality


def _equal(node: Equal) -> Test:
    left, right = node.left, node.right
    if isinstance(right, Constant) and right.value is None:
        return _is_null(compile_node(left))
    if isinstance(left, Property):
        number = number_of(right)
        if number is not None:
            return _property_is_number(left.name, number)
        if isinstance(right, Constant) and isinstance(right.value, str):
            return _property_is_text(left.name, right.value)
    first, second = compile_node(left), compile_node(right)
    return lambda properties: _equals(first(properties), second(properties))


def _is_null(operand: Value) -> Test:
    return lambda properties: operand(properties) is None


def _property_is_number(name: str, number: Number) -> Test:
    value, read = number.value, number.read

    def test(properties: Properties) -> bool | None:
        text = properties.get(name)
        return None if text is None else read(text) == value

    return test


def _property_is_text(name: str, value: str) -> Test:
    def test(properties: Properties) -> bool | None:
        text = properties.get(name)
        return None if text is None else text == value

    return test


def _equals(left: object, right: object) -> bool | None:
    """Equality of any two values. Unknown only when the left one alone is. Source: ComparisonExpression.doCreateEqual."""
    if left is None:
        return True if right is None else None
    if right is None:
        return False
    if isinstance(left, str):
        if isinstance(right, str):
            return left == right
        if isinstance(right, bool):
            return to_boolean(left) is right
        return isinstance(right, Number) and right.read(left) == right.value
    if isinstance(left, bool):
        if isinstance(right, str):
            # The original casts the wrong one of the two.
            raise Incomparable("a boolean on the left cannot be compared with text on the right")
        return left is right
    if isinstance(left, Number):
        if isinstance(right, Number):
            return left.compare(right) == 0
        return isinstance(right, str) and left.read(right) == left.value
    return False


# -- order


def _ordered(node: Ordered) -> Test:
    left, right, sign = node.left, node.right, node.sign
    first, second = number_of(left), number_of(right)
    if first is not None and second is not None:
        answer = _SIGNS[sign](first.compare(second), 0)
        return lambda properties: answer
    if isinstance(left, Property) and second is not None:
        return _property_against_number(left.name, sign, second)
    if isinstance(right, Property) and first is not None:
        return _property_against_number(right.name, _MIRRORED[sign], first)
    if isinstance(left, Property) and isinstance(right, Property):
        return _property_against_property(left.name, sign, right.name)
    # One side is a minus before something that is no number, and always unknown.
    return _unknown(compile_node(left), compile_node(right))


def _property_against_number(name: str, sign: str, number: Number) -> Test:
    bound, read = number.value, number.read
    holds = _SIGNS[sign]

    def test(properties: Properties) -> bool | None:
        text = properties.get(name)
        return None if text is None else holds(read(text), bound)

    return test


def _property_against_property(left: str, sign: str, right: str) -> Test:
    """Two texts are compared as doubles."""
    holds = _SIGNS[sign]

    def test(properties: Properties) -> bool | None:
        first = properties.get(left)
        if first is None:
            return None
        second = properties.get(right)
        if second is None:
            return None
        return holds(compare_doubles(parse_double(first), parse_double(second)), 0)

    return test


def _unknown(first: Value, second: Value) -> Test:
    def test(properties: Properties) -> None:
        if first(properties) is not None:
            second(properties)

    return test


# -- text


def _text(node: Text) -> Test:
    """Without a text to look in, and for an empty one to look for, the answer is FALSE with NOT as without it."""
    search, negated = node.search, node.negated
    if not search:
        return lambda properties: False
    found = _SEARCHES[node.keyword]
    operand = compile_node(node.operand)

    def test(properties: Properties) -> bool:
        value = operand(properties)
        return isinstance(value, str) and found(value, search) is not negated

    return test


def _among(node: Among) -> Test:
    name, members, negated = node.name, node.members, node.negated

    def test(properties: Properties) -> bool | None:
        text = properties.get(name)
        return None if text is None else (text in members) is not negated

    return test


_COMPILERS: dict[type[Node], Callable[[Any], Value]] = {
    Constant: _constant,
    Property: _property,
    Negated: _negated,
    Cast: _cast,
    Not: _not,
    Junction: _junction,
    Equal: _equal,
    Ordered: _ordered,
    Text: _text,
    Among: _among,
}
