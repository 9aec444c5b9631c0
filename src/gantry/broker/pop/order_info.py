"""What an orderly pop has out of one queue: nobody else gets a message of it until all are done or their time is over.

Pure. Source: ConsumerOrderInfoManager.OrderInfo (5.3).
Units: times wall clock ms, offsets in queue entries.
"""

from __future__ import annotations

import msgspec

NOT_OUT = -1
"""The offset is none of those that are out."""
OTHER_POP = -2
"""The handle is of an earlier pop."""


class OrderInfo(msgspec.Struct, omit_defaults=False):
    """The last pop of a queue, in the shape of `consumerOrderInfo.json`.

    `o`: the first offset, then distances to it. `cm`: bit i is set when message i is done. `ot`: offsets whose
    invisible time was changed, and until when they stay. `oc`: how often an offset was handed out before.
    `l`: when it was popped.
    """

    pop_time: int = msgspec.field(name="popTime", default=0)
    i: int | None = None
    o: list[int] = msgspec.field(default_factory=list)
    ot: dict[int, int] | None = None
    oc: dict[int, int] | None = None
    l: int = 0  # noqa: E741
    cm: int = 0
    a: str | None = None

    @classmethod
    def of_pop(
        cls, attempt_id: str | None, pop_time: int, invisible_time: int, offsets: list[int], before: OrderInfo | None
    ) -> OrderInfo:
        """A new pop; what the one before it had out, too, was handed out once more."""
        first = offsets[0]
        info = cls(
            pop_time=pop_time,
            i=invisible_time,
            o=[first, *(offset - first for offset in offsets[1:])],
            l=pop_time,
            a=attempt_id,
        )
        if before is None:
            return info
        counts = before.oc or {}
        if before.a is not None and before.a == attempt_id:
            # The same attempt, asked again: its answer was lost.
            info.oc = dict(counts)
            return info
        out_before = set(before.offsets)
        info.oc = {offset: counts.get(offset, 0) + 1 for offset in info.offsets if offset in out_before}
        return info

    @property
    def offsets(self) -> list[int]:
        return [self.o[0], *(self.o[0] + distance for distance in self.o[1:])] if self.o else []

    def is_done(self, index: int) -> bool:
        return bool(self.cm >> index & 1)

    def visible_at(self, index: int, offset: int) -> int:
        """When an undone message may be handed out again."""
        changed = None if self.ot is None else self.ot.get(offset)
        return changed if changed is not None else self.pop_time + (self.i or 0)

    def blocks_until(self, now: int) -> int | None:
        """Until when no further pop may have the queue; None when it may now."""
        latest = max(
            (self.visible_at(index, offset) for index, offset in enumerate(self.offsets) if not self.is_done(index)),
            default=now,
        )
        return latest if latest > now else None

    def blocks(self, attempt_id: str | None, now: int) -> bool:
        """Whether a pop with this attempt id must wait. The attempt that has the messages out may have them again."""
        if self.a is not None and self.a == attempt_id:
            return False
        return self.blocks_until(now) is not None

    def ack(self, offset: int, pop_time: int) -> int:
        """Marks a message as done. Returns the offset to commit, NOT_OUT or OTHER_POP."""
        offsets = self.offsets
        if not offsets:
            return NOT_OUT
        if pop_time != self.pop_time:
            return OTHER_POP
        if offset not in offsets:
            return NOT_OUT
        self.cm |= 1 << offsets.index(offset)
        return self.committable

    @property
    def committable(self) -> int:
        """The first offset that is not done; the one behind the last when all are."""
        offsets = self.offsets
        for index, offset in enumerate(offsets):
            if not self.is_done(index):
                return offset
        return offsets[-1] + 1

    def set_visible_at(self, offset: int, pop_time: int, visible_at: int) -> bool:
        """Changes until when a message stays out; False when the handle is of an earlier pop."""
        if pop_time != self.pop_time:
            return False
        self.ot = {**(self.ot or {}), offset: visible_at}
        return True

    def order_counts(self) -> tuple[dict[int, int], int]:
        """How often each offset that was handed out before was, and the least of all that are out."""
        counts = self.oc or {}
        least = min(counts.values(), default=0) if len(counts) == len(self.o) else 0
        return counts, least
