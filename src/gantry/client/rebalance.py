"""Which queue belongs to which consumer: pure functions over sorted lists.

Every consumer of a group computes the same table from the same two inputs (all queues of the topic, all client ids of
the group) and takes its own line. Nobody assigns work centrally, so the functions are deterministic and look at nothing else.
While two consumers see different inputs a queue may briefly have two readers or none; the next round heals it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gantry.errors import ConfigError
from gantry.model import MessageQueue

AllocateStrategy = Callable[[str, Sequence[MessageQueue], Sequence[str]], list[MessageQueue]]
"""(own client id, sorted queues of one topic, sorted client ids of the group) -> own queues."""


def allocate_averagely(client_id: str, queues: Sequence[MessageQueue], client_ids: Sequence[str]) -> list[MessageQueue]:
    """Neighbouring queues in equal shares; the first consumers take one more when the division leaves a rest.

    Returns: own queues in order; nothing when this client is not in the list or there are more clients than queues.
    Source:  AllocateMessageQueueAveragely, strategy name AVG (5.3).
    """
    if client_id not in client_ids:
        return []
    index = client_ids.index(client_id)
    share, rest = divmod(len(queues), len(client_ids))
    start = index * share + min(index, rest)
    return list(queues[start : start + share + (1 if index < rest else 0)])


def allocate_in_circle(client_id: str, queues: Sequence[MessageQueue], client_ids: Sequence[str]) -> list[MessageQueue]:
    """Queues dealt like cards, one to each consumer in turn.

    Source: AllocateMessageQueueAveragelyByCircle, strategy name AVG_BY_CIRCLE (5.3).
    """
    if client_id not in client_ids:
        return []
    return list(queues[client_ids.index(client_id) :: len(client_ids)])


STRATEGIES: dict[str, AllocateStrategy] = {"AVG": allocate_averagely, "AVG_BY_CIRCLE": allocate_in_circle}


def strategy_named(name: str) -> AllocateStrategy:
    """The strategy for an official name. Raises: ConfigError naming the known ones."""
    try:
        return STRATEGIES[name]
    except KeyError:
        raise ConfigError(f"allocate strategy {name!r} is not known; use one of {', '.join(sorted(STRATEGIES))}") from None


@dataclass(frozen=True, slots=True)
class RebalancePlan:
    """What to do so that the held queues become the wanted ones. Drop first, then take: another consumer may be waiting."""

    drop: tuple[MessageQueue, ...]
    take: tuple[MessageQueue, ...]

    @property
    def changed(self) -> bool:
        return bool(self.drop or self.take)


def plan_rebalance(held: Iterable[MessageQueue], wanted: Iterable[MessageQueue]) -> RebalancePlan:
    """Compare the queues held now with the queues wanted; both results are sorted so that runs can be repeated."""
    held_set, wanted_set = set(held), set(wanted)
    return RebalancePlan(drop=tuple(sorted(held_set - wanted_set)), take=tuple(sorted(wanted_set - held_set)))
