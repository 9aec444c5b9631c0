"""What a test believes of a broker: every send with its end, and the checks of the history.

A send ends *ok* (code 0: it is in queue q at offset o), *weak* (codes 10, 11, 12: stored, may or may not survive),
*refused* (any other code: must never appear) or stays *unknown* (no answer: may or may not appear).
"""

from __future__ import annotations

from dataclasses import dataclass, field

Place = tuple[int, int]
"""Queue id and queue offset."""

WEAK = frozenset({10, 11, 12})


@dataclass
class History:
    """All sends of a run, keyed by their body, which is unique."""

    unknown: set[bytes] = field(default_factory=set)
    acknowledged: dict[bytes, Place] = field(default_factory=dict)
    refused: set[bytes] = field(default_factory=set)
    weak: set[bytes] = field(default_factory=set)
    seen: dict[Place, bytes] = field(default_factory=dict)

    @property
    def answered(self) -> int:
        """How many sends have an end."""
        return len(self.acknowledged) + len(self.weak) + len(self.refused)

    def begin(self, body: bytes) -> None:
        self.unknown.add(body)

    def end(self, body: bytes, code: int, place: Place) -> None:
        self.unknown.discard(body)
        if code == 0:
            self.acknowledged[body] = place
        elif code in WEAK:
            self.weak.add(body)
        else:
            self.refused.add(body)

    def see(self, place: Place, body: bytes, where: str) -> None:
        """Somebody read this: a place has one value for ever, and nothing appears that was not sent or was refused."""
        offset = place[1]
        known = self.seen.setdefault(place, body)
        assert known == body, f"{where}: offset {offset} was {known!r} and is {body!r} now"
        assert body not in self.refused, f"{where}: {body!r} was refused and is at offset {offset}"
        assert body in self.acknowledged or body in self.weak or body in self.unknown, (
            f"{where}: {body!r} at offset {offset} was never sent"
        )

    def check_queue(self, queue_id: int, first: int, bodies: list[bytes], *, kept: int, seed: int) -> None:
        """Compares what a queue holds from offset `first` on, up to its end.

        Rules: nothing acknowledged at or above `kept` is missing (what lies below, retention may have taken), each place
        has one value for ever and none that was read goes, nothing appears that was not sent or was refused, and sends of
        one producer that did not overlap keep their order.
        """
        where = f"queue {queue_id}, seed {seed}"
        assert first <= kept, f"{where}: it begins at offset {first}, but nothing from {kept} on was due to go"
        for offset, body in enumerate(bodies, first):
            self.see((queue_id, offset), body, where)
        end = first + len(bodies)
        vanished = [place[1] for place in self.seen if place[0] == queue_id and place[1] >= end]
        assert not vanished, f"{where}: offset {min(vanished)} could be read before, and the queue ends at {end} now"
        expected = {place[1]: body for body, place in self.acknowledged.items() if place[0] == queue_id and place[1] >= first}
        missing = {offset: body for offset, body in expected.items() if offset >= end or bodies[offset - first] != body}
        assert not missing, f"{where}: {len(missing)} acknowledged sends are not readable, the first: {min(missing.items())}"
        self._check_order(bodies, where)

    def forget_from(self, queue_id: int, end: int) -> int:
        """What lay at `end` and above may be lost, and may come again. Returns how many acknowledged ones are."""
        lost = [body for body, place in self.acknowledged.items() if place[0] == queue_id and place[1] >= end]
        for body in lost:
            del self.acknowledged[body]
            self.unknown.add(body)
        self.seen = {place: body for place, body in self.seen.items() if place[0] != queue_id or place[1] < end}
        return len(lost)

    @staticmethod
    def _check_order(bodies: list[bytes], where: str) -> None:
        """A sender numbers its sends per queue and begins one only after the former was answered."""
        last: dict[bytes, int] = {}
        for body in bodies:
            sender, number = body.split(b" ")[:2]
            value = int(number)
            assert value > last.get(sender, -1), f"{where}: {sender!r} sent {value} after {last[sender]}"
            last[sender] = value
