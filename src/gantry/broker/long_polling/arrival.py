"""One arriving message, as the expressions of those that wait see it."""

from __future__ import annotations

from typing import Any

from gantry.protocol.message.properties import decode_properties

ARRIVAL_TESTS_MAX = 10_000
"""Comparisons that SQL92 expressions of waiting pulls make over one message while it arrives."""


class Arrival:
    """A message as the filters of those that wait see it: its properties are read once, and each expression is asked once.

    This runs inside the store's commit, so there is an end to it: beyond ARRIVAL_TESTS_MAX comparisons a waiting
    request is woken unasked, and asks for itself when it reads.
    """

    def __init__(self, properties: bytes) -> None:
        self._properties = decode_properties(properties)
        self._answers: dict[Any, bool] = {}
        self._tests_left = ARRIVAL_TESTS_MAX

    def is_for(self, record_filter: Any) -> bool:
        answer = self._answers.get(record_filter)
        if answer is None:
            self._tests_left -= record_filter.tests
            answer = self._tests_left < 0 or record_filter.matches(self._properties)
            self._answers[record_filter] = answer
        return answer
