"""What each member of a consumer group says it listens to, and whether all say the same.

A group consumes as one: a queue goes to one member, and the broker keeps one subscription a topic for the whole group.
Members that differ lose messages without an error anywhere: the queue of one lies with another that does not want it.
"""

from __future__ import annotations

from typing import NamedTuple

from gantry.model.heartbeat import ConsumerData
from gantry.model.names import is_retry_topic

VARIANTS_SHOWN_MAX = 8
CLIENTS_SHOWN_MAX = 4


class Listening(NamedTuple):
    """What must be the same for all members of a group."""

    message_model: str
    topics: tuple[tuple[str, str, str], ...]
    """As `SubscriptionData.comparable` has them."""


def listening_of(data: ConsumerData) -> Listening | None:
    """What a heartbeat says; None when it names no topic: such a consumer chooses its queues itself."""
    topics = sorted(each.comparable() for each in data.subscription_data_set if not is_retry_topic(each.topic))
    return Listening(data.message_model, tuple(topics)) if topics else None


class GroupListening:
    """The members of one group by connection. Equal values are kept once, however many members say them."""

    def __init__(self) -> None:
        self._members: dict[int, tuple[str, Listening]] = {}
        self._said: dict[Listening, tuple[Listening, int]] = {}  # the kept value, and by how many members

    @property
    def conflicting(self) -> bool:
        return len(self._said) > 1

    def differs(self, channel_id: int, listening: Listening) -> bool:
        """Whether another member of the group listens to something else."""
        own = self._members.get(channel_id)
        same = self._said[listening][1] if listening in self._said else 0
        return len(self._members) - (own is not None) > same - (own is not None and own[1] == listening)

    def update(self, channel_id: int, client_id: str, listening: Listening) -> bool:
        """Takes note of one member; True when somebody says now what nobody said before."""
        known = self._members.get(channel_id)
        if known == (client_id, listening):
            return False
        self.remove(channel_id)
        kept, count = self._said.get(listening, (listening, 0))
        self._said[kept] = (kept, count + 1)
        self._members[channel_id] = (client_id, kept)
        return count == 0

    def remove(self, channel_id: int) -> None:
        known = self._members.pop(channel_id, None)
        if known is None:
            return
        kept, count = self._said[known[1]]
        if count == 1:
            del self._said[kept]
        else:
            self._said[kept] = (kept, count - 1)

    def variants(self) -> list[tuple[Listening, list[str]]]:
        """Each value that is said, with the ids of the clients that say it; the most said first."""
        clients: dict[Listening, dict[str, None]] = {}
        for client_id, listening in self._members.values():
            clients.setdefault(listening, {})[client_id] = None
        return sorted(((listening, list(ids)) for listening, ids in clients.items()), key=lambda item: -len(item[1]))


def describe_conflict(variants: list[tuple[Listening, list[str]]]) -> str:
    """One line for logs and remarks: who says what, shortened."""
    parts = []
    for listening, clients in variants[:VARIANTS_SHOWN_MAX]:
        topics = ", ".join(f"{topic} ({expression[:80]})" for topic, _, expression in listening.topics[:VARIANTS_SHOWN_MAX])
        more = f" and {len(clients) - CLIENTS_SHOWN_MAX} more" if len(clients) > CLIENTS_SHOWN_MAX else ""
        parts.append(f"{', '.join(clients[:CLIENTS_SHOWN_MAX])}{more}: {listening.message_model} {topics}")
    if len(variants) > VARIANTS_SHOWN_MAX:
        parts.append(f"and {len(variants) - VARIANTS_SHOWN_MAX} more")
    return "; ".join(parts)
