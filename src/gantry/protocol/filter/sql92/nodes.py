"""The tree of a parsed SQL92 filter expression.

Two properties of the original's classes decide what may stand where, so nodes have them too: whether a node is boolean (gives
TRUE, FALSE or unknown), and whether it is a constant as it was written. A negated constant is none.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from .java_values import Number


class Node(msgspec.Struct, eq=False):
    """`depth` is 1 for a leaf. `position` is where the node begins in the expression."""

    depth: int
    position: int
    is_boolean: ClassVar[bool] = False


class Constant(Node, eq=False):
    """`value` None is NULL. TRUE, FALSE and NULL are boolean."""

    value: str | bool | Number | None


class Property(Node, eq=False):
    name: str


class Negated(Node, eq=False):
    """Minus. Of anything but a number it is unknown, whatever the operand gives; `number` is the number with its sign."""

    operand: Node
    number: Number | None


class Cast(Node, eq=False):
    """A property where a boolean is asked for: unknown without the property, else FALSE, for properties are text."""

    name: str
    is_boolean: ClassVar[bool] = True


class Not(Node, eq=False):
    operand: Node
    is_boolean: ClassVar[bool] = True


class Junction(Node, eq=False):
    """AND (`conjunction`) or OR of two parts and more. Nested ones of the same kind are one: three-valued logic allows it."""

    conjunction: bool
    parts: tuple[Node, ...]
    is_boolean: ClassVar[bool] = True


class Equal(Node, eq=False):
    """`left = right`; IS NULL is this with the constant NULL."""

    left: Node
    right: Node
    is_boolean: ClassVar[bool] = True


class Ordered(Node, eq=False):
    """`sign` is one of < <= > >=."""

    sign: str
    left: Node
    right: Node
    is_boolean: ClassVar[bool] = True


class Text(Node, eq=False):
    """`keyword` is CONTAINS, STARTSWITH or ENDSWITH."""

    keyword: str
    negated: bool
    operand: Node
    search: str
    is_boolean: ClassVar[bool] = True


class Among(Node, eq=False):
    """`name [NOT] IN (members)`."""

    name: str
    negated: bool
    members: frozenset[str]
    is_boolean: ClassVar[bool] = True


def is_boolean(node: Node) -> bool:
    if isinstance(node, Constant):
        return node.value is None or isinstance(node.value, bool)
    return node.is_boolean


def number_of(node: Node) -> Number | None:
    """The number that a node always gives, if it is one."""
    if isinstance(node, Negated):
        return node.number
    return node.value if isinstance(node, Constant) and isinstance(node.value, Number) else None
