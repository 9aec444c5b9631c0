"""Queue and index entries of many records at once; the pure core has no faster way than one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .consume_queue import ConsumeQueue
    from .pending_keys import PendingKeys
    from .queue_table import QueueTable


class BulkDispatch:
    """Makes the entries of common records, of a log that is walked from its beginning to its end.

    Common is what has no part in a transaction, no delay and IPv4 hosts, a topic that can name a queue, properties in
    ASCII, does not lie at `covered` and leaves no hole in its queue. `touched` gets the queues that got an entry; records of
    a deleted topic that lie below its offset in `deleted_topics` get none.
    """

    def __init__(
        self,
        queues: QueueTable,
        touched: dict[ConsumeQueue, None],
        deleted_topics: dict[str, int],
        pending: PendingKeys | None,
        *,
        covered: int,
        with_tags: bool,
    ) -> None:
        """`pending` takes the index keys; None when there is no index. `covered`: the newest record it has, maybe in part."""

    def run(self, data: bytes, base: int, starts: list[int], at: int) -> tuple[int, int]:
        """Goes over the records that begin at `starts[at:]` in `data`, which lies at physical offset `base`.

        Returns: index of the first one left to others, or the number of all; how many got an entry of either kind.
        """
        return at, 0
