"""A compiled SQL92 expression, and the shelf of those compiled last."""

from __future__ import annotations

from collections import OrderedDict

from gantry.errors import FilterExpressionError

from .evaluation import Properties, Test, compile_node
from .java_values import Incomparable
from .parser import LENGTH_MAX, parse

_SHELF_COUNT_MAX = 128
_SHELF_CHARS_MAX = 1024 * 1024


class SqlFilter:
    """An expression over message properties, ready to be asked.

    `tests` is the number of comparisons a message costs at most, `names` are the properties it looks at. `ignored_from` is the
    character where text begins that the grammar does not reach and the filter does not heed, -1 when there is none.
    """

    __slots__ = ("_test", "expression", "ignored_from", "names", "tests")

    def __init__(self, expression: str) -> None:
        """Raises: FilterExpressionError."""
        parsed = parse(expression)
        self.expression = expression
        self.tests = parsed.tests
        self.names = parsed.names
        self.ignored_from = parsed.ignored_from
        self._test: Test = compile_node(parsed.root)

    def matches(self, properties: Properties) -> bool:
        """Whether a message with these properties is asked for; one that cannot be compared is not."""
        try:
            return self._test(properties) is True
        except Incomparable:
            return False

    def evaluate(self, properties: Properties) -> bool | None:
        """TRUE, FALSE or None for unknown. Raises: Incomparable where the original throws."""
        return self._test(properties)


class FilterShelf:
    """Expressions compiled or refused last, so that a pull which brings its own costs a look and not a compilation.

    Bounded by count and by characters together; the one not asked for longest makes room.
    Source: SelectorParser.PARSE_CACHE (5.5), 100 expressions there.
    """

    def __init__(self, *, count_max: int = _SHELF_COUNT_MAX, chars_max: int = _SHELF_CHARS_MAX) -> None:
        self._count_max = count_max
        self._chars_max = chars_max
        self._chars = 0
        self._known: OrderedDict[str, SqlFilter | FilterExpressionError] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, expression: str) -> SqlFilter:
        """Raises: FilterExpressionError."""
        known = self._known.get(expression)
        if known is None:
            try:
                known = SqlFilter(expression)
            except FilterExpressionError as error:
                known = error
            if len(expression) <= LENGTH_MAX:
                self._put(expression, known)
        else:
            self._known.move_to_end(expression)
        if isinstance(known, SqlFilter):
            return known
        raise FilterExpressionError(position=known.position, found=known.found, reason=known.reason)

    def _put(self, expression: str, known: SqlFilter | FilterExpressionError) -> None:
        self._known[expression] = known
        self._chars += len(expression)
        while len(self._known) > self._count_max or self._chars > self._chars_max:
            eldest, _ = self._known.popitem(last=False)
            self._chars -= len(eldest)


_SHELF = FilterShelf()


def compile_sql(expression: str) -> SqlFilter:
    """The filter of an expression, compiled once while it is in use. Raises: FilterExpressionError."""
    return _SHELF.get(expression)
