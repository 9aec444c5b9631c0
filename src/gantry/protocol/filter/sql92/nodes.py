"""The tree of a parsed SQL92 filter expression.

Two properties of the original's classes decide what may stand where, so nodes have them too: whether a node is boolean (gives
TRUE, FALSE or unknown), and whether it is a constant as it was written. A negated constant is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .java_values import Number


@dataclass(slots=True, eq=False)
class Node:
    """`depth` is 1 for a leaf. `position` is where the node begins in the expression."""

    depth: int
    position: int
    is_boolean: ClassVar[bool] = False


@dataclass(slots=True, eq=False)
class Constant(Node):
    """`value` None is NULL. TRUE, FALSE and NULL are boolean."""

    value: str | bool | Number | None


@dataclass(slots=True, eq=False)
class Property(Node):
    name: str


@dataclass(slots=True, eq=False)
class Negated(Node):
    """Minus. Of anything but a number it is unknown, whatever the operand gives; `number` is the number with its sign."""

    operand: Node
    number: Number | None


@dataclass(slots=True, eq=False)
class Cast(Node):
    """A property where a boolean is asked for: unknown without the property, else FALSE, for properties are text."""

    name: str
    is_boolean = True


@dataclass(slots=True, eq=False)
class Not(Node):
    operand: Node
    is_boolean = True


@dataclass(slots=True, eq=False)
class Junction(Node):
    """AND (`conjunction`) or OR of two parts and more. Nested ones of the same kind are one: three-valued logic allows it."""

    conjunction: bool
    parts: tuple[Node, ...]
    is_boolean = True


@dataclass(slots=True, eq=False)
class Equal(Node):
    """`left = right`; IS NULL is this with the constant NULL."""

    left: Node
    right: Node
    is_boolean = True


@dataclass(slots=True, eq=False)
class Ordered(Node):
    """`sign` is one of < <= > >=."""

    sign: str
    left: Node
    right: Node
    is_boolean = True


@dataclass(slots=True, eq=False)
class Text(Node):
    """`keyword` is CONTAINS, STARTSWITH or ENDSWITH."""

    keyword: str
    negated: bool
    operand: Node
    search: str
    is_boolean = True


@dataclass(slots=True, eq=False)
class Among(Node):
    """`name [NOT] IN (members)`."""

    name: str
    negated: bool
    members: frozenset[str]
    is_boolean = True


def is_boolean(node: Node) -> bool:
    if isinstance(node, Constant):
        return node.value is None or isinstance(node.value, bool)
    return node.is_boolean


def number_of(node: Node) -> Number | None:
    """The number that a node always gives, if it is one."""
    if isinstance(node, Negated):
        return node.number
    return node.value if isinstance(node, Constant) and isinstance(node.value, Number) else None
