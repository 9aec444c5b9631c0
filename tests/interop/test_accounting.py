"""The rules of the accounting notice what they are there to notice."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from . import accounting


@dataclass(frozen=True)
class Seen:
    consumer: str
    queue: int
    offset: int
    began: int
    took: int = 1

    @property
    def body(self) -> str:
        return f"{self.queue}/{self.offset}"

    @property
    def ended(self) -> int:
        return self.began + self.took


def run(consumer: str, offsets: range, began: int = 0, queue: int = 0) -> list[Seen]:
    return [Seen(consumer, queue, offset, began + 10 * place) for place, offset in enumerate(offsets)]


SENT = [f"0/{offset}" for offset in range(10)]
GOOD = run("a", range(6)) + run("b", range(4, 10), 100)


def test_a_take_over_that_repeats_two_messages_is_accepted() -> None:
    accounting.check(
        accounting.missing(SENT, GOOD),
        accounting.unknown(SENT, GOOD),
        accounting.unexcused_repeats(GOOD),
        accounting.disorder(GOOD),
        accounting.two_owners(GOOD),
    )


def test_a_lost_message_is_named() -> None:
    lost = [each for each in GOOD if each.offset != 7]
    assert accounting.missing(SENT, lost) == ["0/7 was acknowledged and never consumed"]


def test_a_message_nobody_sent_is_named() -> None:
    assert accounting.unknown(SENT[:9], GOOD) == ["0/9 came from queue 0 and was never sent"]


def test_a_repeat_without_a_change_of_owner_is_a_fault() -> None:
    once_more = [*run("a", range(10)), Seen("a", 0, 3, 500)]
    assert accounting.unexcused_repeats(once_more) == ["0/3 was consumed 2 times"]


@pytest.mark.parametrize(
    "consumed",
    [
        pytest.param(run("a", range(3)) + run("a", range(5, 8), 100), id="an owner that skips"),
        pytest.param(run("a", range(3)) + run("a", range(2, 5), 100), id="an owner that goes back"),
        pytest.param(run("a", range(3)) + run("b", range(4, 8), 100), id="a new owner that begins too late"),
    ],
)
def test_disorder_in_a_queue_is_a_fault(consumed: list[Seen]) -> None:
    assert len(accounting.disorder(consumed)) == 1


def test_two_consumers_in_one_queue_at_once_are_a_fault() -> None:
    overlap = [Seen("a", 0, 0, began=0, took=50), Seen("b", 0, 1, began=40)]
    assert len(accounting.two_owners(overlap)) == 1
    assert accounting.two_owners([Seen("a", 0, 0, began=0, took=50), Seen("b", 1, 1, began=40)]) == []


def test_acknowledged_offsets_must_be_dense() -> None:
    assert accounting.split_offsets([[0, 0, 0], [1, 0, 1], [2, 1, 5]]) == []
    assert len(accounting.split_offsets([[0, 0, 0], [1, 0, 2]])) == 1
    assert len(accounting.split_offsets([[0, 0, 0], [1, 0, 0]])) == 1
