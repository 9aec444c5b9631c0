"""The loop stays awake only while that pays."""

from __future__ import annotations

import asyncio

from gantry.broker.hot import BusyPoll

US = 1000


class Hand:
    """A clock that is moved by hand: each look at it takes a microsecond."""

    def __init__(self) -> None:
        self.now = 10**12
        self.looks = 0

    def monotonic_ns(self) -> int:
        self.now += US
        self.looks += 1
        return self.now


async def rounds() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def test_an_idle_broker_does_not_poll() -> None:
    hand = Hand()
    poll = BusyPoll(hand, 50)  # type: ignore[arg-type]
    for _ in range(20):
        hand.now += 10_000 * US
        poll.turn(hand.now, hand.now + 5 * US)
        await rounds()
    assert hand.looks == 0


async def test_turns_close_upon_each_other_keep_the_loop_awake_up_to_the_limit() -> None:
    hand = Hand()
    poll = BusyPoll(hand, 50)  # type: ignore[arg-type]
    for _ in range(8):
        hand.now += 20 * US
        poll.turn(hand.now, hand.now + 5 * US)
    assert poll.polling
    before = hand.looks
    await rounds()
    assert not poll.polling
    assert 50 <= hand.looks - before <= 60


async def test_turns_a_little_too_far_apart_are_polled_for_in_vain_only_now_and_then() -> None:
    hand = Hand()
    poll = BusyPoll(hand, 50)  # type: ignore[arg-type]
    polled = 0
    for _ in range(100):
        hand.now += 90 * US
        poll.turn(hand.now, hand.now)
        polled += poll.polling
        await rounds()
        assert not poll.polling
    assert polled <= 100 // 4
