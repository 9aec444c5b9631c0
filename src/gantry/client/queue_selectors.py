"""Which queue a message goes to, where its order among others matters. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gantry._core import java_string_hash
from gantry.model import Message, MessageQueue

QueueSelector = Callable[[Sequence[MessageQueue], Message], MessageQueue]
"""Chooses one of the writable queues for a message; must return one of those given."""

_STEP = 2862933555777941757
_MASK = (1 << 64) - 1


def by_key(key: str) -> QueueSelector:
    """A selector that sends equal keys to the same queue, so that their order is kept while the queue count stays.

    Shape: Java String.hashCode of the key, absolute value, modulo the number of queues: the same queue that
           SelectMessageQueueByHash of the official client picks.
    """
    index = abs(java_string_hash(key))

    def select(queues: Sequence[MessageQueue], message: Message) -> MessageQueue:
        return queues[index % len(queues)]

    return select


def by_message_group(group: str) -> QueueSelector:
    """A selector that sends a message group to one queue, the one that the official proxy picks for gRPC clients.

    When queues are added, a group either stays or moves to a new one; most stay.
    Source: SendMessageActivity (5.3), Guava's consistentHash: the jump hash of Lamping and Veach, 2014.
    """
    value = java_string_hash(group)

    def select(queues: Sequence[MessageQueue], message: Message) -> MessageQueue:
        return queues[_jump(value, len(queues))]

    return select


def _jump(value: int, count: int) -> int:
    state, found = value & _MASK, 0
    while True:
        state = (_STEP * state + 1) & _MASK
        # The upper 31 bits as a fraction of one, never zero: how far to the next jump.
        following = int((found + 1) / (((state >> 33) + 1) / (1 << 31)))
        if following >= count:
            return found
        found = following
