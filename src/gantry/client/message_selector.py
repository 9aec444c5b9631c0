"""MessageSelector: which messages of a topic a consumer asks for."""

from __future__ import annotations

from typing import NamedTuple

from gantry.model.heartbeat import EXPRESSION_SQL92, EXPRESSION_TAG, SUB_ALL


class MessageSelector(NamedTuple):
    """An expression and its language. A plain string in its place is one of tags. Source: MessageSelector (5.5)."""

    expression: str = SUB_ALL
    expression_type: str = EXPRESSION_TAG

    @classmethod
    def by_tag(cls, expression: str) -> MessageSelector:
        """`*`, or tags joined by `||`."""
        return cls(expression, EXPRESSION_TAG)

    @classmethod
    def by_sql(cls, expression: str) -> MessageSelector:
        """A SQL92 expression over message properties: `colour = 'red' AND size BETWEEN 3 AND 7`; see docs/filters.md.

        The broker must have enablePropertyFilter=true.
        """
        return cls(expression, EXPRESSION_SQL92)
