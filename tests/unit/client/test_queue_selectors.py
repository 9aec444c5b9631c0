"""The queue of a message group."""

from __future__ import annotations

import pytest

from gantry.client import Message, MessageQueue, by_message_group

COUNTS = (1, 2, 3, 4, 8, 16, 100)


@pytest.mark.parametrize(
    ("group", "places"),
    [
        # As Guava 32 says: Hashing.consistentHash(group.hashCode(), count).
        ("order-7", (0, 0, 0, 0, 4, 9, 89)),
        ("a", (0, 0, 0, 0, 0, 0, 29)),
        ("customer-42", (0, 1, 2, 2, 7, 14, 14)),
        ("日本語", (0, 1, 2, 2, 2, 2, 83)),
        ("\U0001f600 x", (0, 0, 2, 2, 4, 8, 85)),
    ],
)
def test_a_group_has_the_queue_that_the_official_proxy_picks(group: str, places: tuple[int, ...]) -> None:
    select = by_message_group(group)
    for count, place in zip(COUNTS, places, strict=True):
        queues = [MessageQueue("T", "broker-a", queue_id) for queue_id in range(count)]
        assert select(queues, Message.of("T", b"")) == queues[place]


def test_a_group_stays_or_moves_to_a_new_queue() -> None:
    message = Message.of("T", b"")
    moved = 0
    for number in range(1000):
        select = by_message_group(f"group-{number}")
        before, after = (
            select([MessageQueue("T", "b", queue_id) for queue_id in range(count)], message).queue_id for count in (8, 9)
        )
        assert after in (before, 8)
        moved += after != before
    assert 60 < moved < 170, "one in nine, more or less"
