"""The allocation strategies that a client may name in QUERY_ASSIGNMENT.

Every strategy gets the sorted queues and the sorted ids of all clients and returns the queues of one of them; all clients
computing it over the same lists share the queues without gap or overlap. A client that is not in the list gets none.
Source: AllocateMessageQueueAveragely, AllocateMessageQueueAveragelyByCircle (5.5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gantry.model.message import MessageQueue

Strategy = Callable[[str, Sequence[MessageQueue], Sequence[str]], list[MessageQueue]]


def allocate_averagely(client_id: str, queues: Sequence[MessageQueue], client_ids: Sequence[str]) -> list[MessageQueue]:
    """Neighbouring queues; the first clients get one more when they do not divide evenly."""
    if client_id not in client_ids:
        return []
    index = client_ids.index(client_id)
    share, rest = divmod(len(queues), len(client_ids))
    begin = index * share + min(index, rest)
    return list(queues[begin : begin + share + (1 if index < rest else 0)])


def allocate_by_circle(client_id: str, queues: Sequence[MessageQueue], client_ids: Sequence[str]) -> list[MessageQueue]:
    """Every so many-th queue."""
    if client_id not in client_ids:
        return []
    return list(queues[client_ids.index(client_id) :: len(client_ids)])


STRATEGIES: dict[str, Strategy] = {"AVG": allocate_averagely, "AVG_BY_CIRCLE": allocate_by_circle}


def allocate_for_pop(
    strategy: Strategy, client_id: str, queues: Sequence[MessageQueue], client_ids: Sequence[str], share_count: int
) -> list[MessageQueue]:
    """Queues a client pops from: its own and those of the `share_count` clients after it.

    Without a share, or with one that reaches everybody, each client pops from all queues of each broker, which a queue
    id of -1 says. More clients than queues: several share one queue.
    Source: QueryAssignmentProcessor.allocate4Pop (5.5).
    """
    if share_count <= 0 or share_count >= len(client_ids) - 1:
        return list(dict.fromkeys(MessageQueue(queue.topic, queue.broker_name, -1) for queue in queues))
    if client_id not in client_ids or not queues:
        return []
    index = client_ids.index(client_id)
    if len(client_ids) > len(queues):
        return [queues[index % len(queues)]]
    allocated: list[MessageQueue] = []
    for step in range(share_count + 1):
        allocated += strategy(client_ids[(index + step) % len(client_ids)], queues, client_ids)
    return allocated
