"""What "every one accounted for" means, as functions over what was acknowledged and what was consumed.

Each returns a list of sentences, empty when all is well, so that a failed test shows the first few of them and so that
the rules themselves can be tested without a broker.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol


class Consumption(Protocol):
    """What the rules look at of one consumption (see `driver.Received`)."""

    @property
    def consumer(self) -> str: ...
    @property
    def queue(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def body(self) -> str: ...
    @property
    def began(self) -> int: ...
    @property
    def ended(self) -> int: ...


def missing(sent: Collection[str], consumed: Iterable[Consumption]) -> list[str]:
    """Acknowledged bodies that nobody consumed."""
    seen = {each.body for each in consumed}
    return [f"{body} was acknowledged and never consumed" for body in sent if body not in seen]


def unknown(sent: Collection[str], consumed: Iterable[Consumption]) -> list[str]:
    """Consumed bodies that nobody sent."""
    known = set(sent)
    return [f"{each.body} came from queue {each.queue} and was never sent" for each in consumed if each.body not in known]


def repeated(consumed: Iterable[Consumption]) -> list[str]:
    """Bodies consumed more than once, for where nothing excuses it."""
    times = Counter(each.body for each in consumed)
    return [f"{body} was consumed {count} times" for body, count in times.items() if count > 1]


def unexcused_repeats(consumed: Sequence[Consumption]) -> list[str]:
    """Bodies consumed more than once in a queue that had one owner all the time: only a change of owner may repeat."""
    owners: dict[int, set[str]] = defaultdict(set)
    for each in consumed:
        owners[each.queue].add(each.consumer)
    return repeated(each for each in consumed if len(owners[each.queue]) == 1)


def split_offsets(acks: Iterable[Sequence[object]]) -> list[str]:
    """Acknowledgements must give each queue the offsets 0,1,2,... each once (`[number, queue, offset, status]` each)."""
    queues: dict[object, list[int]] = defaultdict(list)
    for _, queue, offset, *_ in acks:
        assert isinstance(offset, int)
        queues[queue].append(offset)
    return [
        f"queue {queue} acknowledged {len(offsets)} offsets, from {min(offsets)} to {max(offsets)}, not a dense sequence"
        for queue, offsets in queues.items()
        if sorted(offsets) != list(range(min(offsets), min(offsets) + len(offsets)))
    ]


def disorder(consumed: Iterable[Consumption]) -> list[str]:
    """Breaks of orderly consumption, per queue.

    In order of time each owner's run goes up one offset at a time; a new owner begins at or before the place after the
    former's last message and never beyond it.
    """
    faults = []
    for queue, run in _by_queue(consumed).items():
        for former, one in itertools.pairwise(run):
            same = former.consumer == one.consumer
            if same and one.offset != former.offset + 1:
                faults.append(f"queue {queue}: {one.consumer} consumed {one.offset} after {former.offset}")
            if not same and one.offset > former.offset + 1:
                faults.append(
                    f"queue {queue}: {one.consumer} took over at {one.offset}, {former.consumer} had ended at {former.offset}"
                )
    return faults


def two_owners(consumed: Iterable[Consumption]) -> list[str]:
    """Times at which two consumers were inside their listeners for one queue."""
    faults = []
    for queue, run in _by_queue(consumed).items():
        last: dict[str, Consumption] = {}
        for one in run:
            for owner, former in last.items():
                if owner != one.consumer and former.ended > one.began:
                    faults.append(
                        f"queue {queue}: {owner} was at {former.offset} until {former.ended} us, "
                        f"{one.consumer} began {one.offset} at {one.began} us"
                    )
            last[one.consumer] = one
    return faults


def _by_queue(consumed: Iterable[Consumption]) -> dict[int, list[Consumption]]:
    queues: dict[int, list[Consumption]] = defaultdict(list)
    for each in sorted(consumed, key=lambda each: each.began):
        queues[each.queue].append(each)
    return queues


def check(*faults: list[str]) -> None:
    """Fails with the first of all sentences and how many there are."""
    every = [sentence for some in faults for sentence in some]
    assert not every, f"{len(every)} faults, first: " + "; ".join(every[:5])
