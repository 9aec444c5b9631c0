"""The shadow model of a simulated cluster: what was sent, acknowledged, read, consumed and committed, and what must hold of it.

The letters are those of the table in docs/reliability.md: C1 nothing lost, C2 one value a place, C3 nothing invented, C4 no
copy without a retry, C5 order, C6 offsets that never go back, C7 what was read stays.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from tests.crash.history import History

if TYPE_CHECKING:
    from gantry.testing.simulated_cluster import SimulatedBroker


class Ledger:
    """One history a broker. With `sync`, a power cut may not cost what was acknowledged or read either."""

    def __init__(self, seed: int, topic: str, *, sync: bool) -> None:
        self.histories: dict[str, History] = defaultdict(History)
        self.consumed: Counter[bytes] = Counter()
        self.given_back: set[bytes] = set()
        self.lost = 0
        self._seed = seed
        self._topic = topic
        self._sync = sync
        self._ends: dict[tuple[str, int], int] = {}
        self._committed: dict[tuple[str, int], int] = {}
        self._may_have_lost: set[str] = set()
        self._used_twice: dict[tuple[str, int], list[range]] = defaultdict(list)

    @property
    def acknowledged_count(self) -> int:
        return sum(len(history.acknowledged) for history in self.histories.values())

    @property
    def unknown_count(self) -> int:
        return sum(len(history.unknown) for history in self.histories.values())

    def read(self, broker_name: str, queue_id: int, offset: int, body: bytes) -> None:
        """C2, C3: a reader saw this."""
        where = f"{broker_name} queue {queue_id}, seed {self._seed}"
        self.histories[broker_name].see((queue_id, offset), body, where)

    def crashes(self, broker_name: str, *, power: bool) -> None:
        """A broker goes down without a farewell: offsets of groups are saved every few seconds, not with each commit."""
        self._committed = {place: offset for place, offset in self._committed.items() if place[0] != broker_name}
        if power and not self._sync:
            self._may_have_lost.add(broker_name)

    def started(self, broker: SimulatedBroker) -> None:
        """A broker is up again: the ends of queues that a power cut took under ASYNC_FLUSH are counted, and forgotten."""
        if broker.name in self._may_have_lost:
            self._may_have_lost.discard(broker.name)
            store, history = broker.controller.context.store, self.histories[broker.name]
            places = [*history.acknowledged.values(), *history.seen]
            # Of all queues: one that lost everything is not in the store any more.
            for queue_id in sorted({place[0] for place in places}):
                end = store.max_offset(self._topic, queue_id)
                known = [place[1] for place in places if place[0] == queue_id]
                before = max(self._ends.pop((broker.name, queue_id), 0), max(known, default=-1) + 1)
                self._used_twice[broker.name, queue_id].append(range(end, before))
                self.lost += history.forget_from(queue_id, end)
        self.look_at(broker)

    def look_at(self, broker: SimulatedBroker) -> None:
        """C6: of each queue and group, offsets in order and none that went back."""
        context = broker.controller.context
        store = context.store
        for queue_id in store.queue_ids(self._topic):
            place = (broker.name, queue_id)
            end = store.max_offset(self._topic, queue_id)
            before = self._ends.get(place, 0)
            assert end >= before, f"C6 {place}: the end was {before} and is {end}, seed {self._seed}"
            self._ends[place] = end
            for group in ("pushed", "polled"):
                committed = context.offsets.query(group, self._topic, queue_id)
                assert committed <= end, f"C6 {place}: {group} has {committed}, the end is {end}, seed {self._seed}"
            # Of the group that has one member: a queue that changes hands may see a late commit of its former owner.
            last = self._committed.get(place, -1)
            assert committed >= last, f"C6 {place}: polled had {last} and has {committed}, seed {self._seed}"
            self._committed[place] = committed

    def check_queue(self, broker_name: str, queue_id: int, first: int, bodies: list[bytes]) -> None:
        """C1, C2, C3, C5, C7 over the whole queue; C4: no send is there twice, for no sender here tries again."""
        self.histories[broker_name].check_queue(queue_id, first, bodies, kept=0, seed=self._seed)
        twice = [body for body, count in Counter(bodies).items() if count > 1]
        assert not twice, f"C4 {broker_name} queue {queue_id}: {twice[:3]} are there more than once, seed {self._seed}"

    def not_consumed(self) -> list[bytes]:
        """Acknowledged messages that the push group should have got and has not.

        After a power cut under ASYNC_FLUSH the ends of queues are gone, and their offsets are given to other messages: a
        consumer that had read further goes on from where it was, past those. It is a known limit of that mode. So is that the
        copy of a message that was given back may be at the end that is gone.
        """
        excused = set() if self._sync else self.given_back
        return [
            body
            for name, history in self.histories.items()
            for body, (queue_id, offset) in history.acknowledged.items()
            if not self.consumed[body]
            and body not in excused
            and not any(offset in again for again in self._used_twice[name, queue_id])
        ]
