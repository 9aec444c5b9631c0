"""The rules of a history, one by one, without a broker."""

from __future__ import annotations

import pytest

from tests.crash.history import History

A, B, C, D = b"s0 1 a", b"s0 2 b", b"s0 3 c", b"s1 1 d"


def history() -> History:
    """A, B and C were sent one after another to queue 0 and acknowledged; D has no answer."""
    told = History()
    for offset, body in enumerate((A, B, C)):
        told.begin(body)
        told.end(body, 0, (0, offset))
    told.begin(D)
    return told


@pytest.mark.parametrize(
    ("first", "bodies", "kept"),
    [(0, [A, B, C], 0), (0, [A, B, C, D], 0), (1, [B, C], 1), (0, [A, B, C], 2), (3, [D], 3)],
)
def test_what_may_be(first: int, bodies: list[bytes], kept: int) -> None:
    history().check_queue(0, first, bodies, kept=kept, seed=1)


@pytest.mark.parametrize(
    ("first", "bodies", "said"),
    [
        (0, [A, B], "1 acknowledged sends are not readable"),
        (0, [], "3 acknowledged sends are not readable"),
        (0, [A, C, B], "2 acknowledged sends are not readable"),
        (0, [A, B, C, b"s2 1 x"], "was never sent"),
        (1, [B, C], "it begins at offset 1, but nothing from 0 on was due to go"),
        (0, [A, B, C, D, D], "sent 1 after 1"),
    ],
)
def test_what_may_not_be(first: int, bodies: list[bytes], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        history().check_queue(0, first, bodies, kept=0, seed=1)


def test_a_place_has_one_value_for_ever() -> None:
    told = history()
    told.check_queue(0, 0, [A, B, C, D], kept=0, seed=1)
    told.begin(b"s3 1 e")
    with pytest.raises(AssertionError, match="offset 3 was b's1 1 d' and is b's3 1 e' now"):
        told.check_queue(0, 0, [A, B, C, b"s3 1 e"], kept=0, seed=1)


def test_refused_never_appears_and_weak_may() -> None:
    told = history()
    told.begin(b"s4 1 f")
    told.end(b"s4 1 f", 11, (0, 3))
    told.check_queue(0, 0, [A, B, C], kept=0, seed=1)
    told.check_queue(0, 0, [A, B, C, b"s4 1 f"], kept=0, seed=1)
    told.end(D, 14, (-1, -1))
    with pytest.raises(AssertionError, match="was refused"):
        told.check_queue(0, 0, [A, B, C, b"s4 1 f", D], kept=0, seed=1)


def test_what_was_read_stays_unless_it_may_be_lost() -> None:
    told = history()
    told.check_queue(0, 0, [A, B, C, D], kept=0, seed=1)
    with pytest.raises(AssertionError, match="offset 3 could be read before, and the queue ends at 3 now"):
        told.check_queue(0, 0, [A, B, C], kept=0, seed=1)
    assert told.forget_from(0, 2) == 1
    told.check_queue(0, 0, [A, B], kept=0, seed=1)
    told.check_queue(0, 0, [A, B, D], kept=0, seed=1)
