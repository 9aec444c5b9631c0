"""Queue locks for orderly consumption: one client per (group, queue) at a time, by lease."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gantry.model.message import MessageQueue
from gantry.runtime.clock import Clock

LOCK_MAX_LIVE_MS = 60_000
"""Official default of `rocketmq.broker.rebalance.lockMaxLiveTime`; clients renew every 20 s and trust a lock for 30 s."""


class _Lease(msgspec.Struct):
    client_id: str
    granted_monotonic_ms: int


class RebalanceLockManager:
    """Leases of queues, in memory only.

    A lease lives LOCK_MAX_LIVE_MS from its last renewal on the monotonic clock; the holder renews by asking again, and
    anybody may take an expired one. A restart forgets all leases: the clients' own 30 s then bound the overlap.
    Source: RebalanceLockManager (5.3), which uses the wall clock; a jump there would free or freeze every queue.
    """

    def __init__(self, clock: Clock, *, lock_max_live_ms: int = LOCK_MAX_LIVE_MS) -> None:
        self._clock = clock
        self._lock_max_live_ms = lock_max_live_ms
        self._leases: dict[str, dict[MessageQueue, _Lease]] = {}

    def try_lock_batch(self, group: str, queues: Iterable[MessageQueue], client_id: str) -> list[MessageQueue]:
        """The queues that `client_id` now holds, in the order asked; the others have a living owner."""
        monotonic_ms = self._clock.monotonic_ms()
        leases = self._leases.setdefault(group, {})
        granted: list[MessageQueue] = []
        for queue in queues:
            lease = leases.get(queue)
            if lease is None:
                leases[queue] = _Lease(client_id, monotonic_ms)
            elif lease.client_id == client_id or self._expired(lease, monotonic_ms):
                lease.client_id = client_id
                lease.granted_monotonic_ms = monotonic_ms
            else:
                continue
            granted.append(queue)
        return granted

    def unlock_batch(self, group: str, queues: Iterable[MessageQueue], client_id: str) -> None:
        """Gives back what `client_id` holds of `queues`; locks of others stay as they are."""
        leases = self._leases.get(group)
        if leases is None:
            return
        for queue in queues:
            lease = leases.get(queue)
            if lease is not None and lease.client_id == client_id:
                del leases[queue]
        if not leases:
            del self._leases[group]

    def is_lock_all_expired(self, group: str) -> bool:
        """Whether nobody holds a living lock in the group.

        A group with living locks consumes in order; a retry sent by such a consumer goes to the dead letters instead.
        """
        monotonic_ms = self._clock.monotonic_ms()
        return all(self._expired(lease, monotonic_ms) for lease in self._leases.get(group, {}).values())

    def scan_expired(self) -> int:
        """Drops expired leases, which otherwise stay for ever for queues nobody asks about again; returns how many."""
        monotonic_ms = self._clock.monotonic_ms()
        dropped = 0
        for group in list(self._leases):
            leases = self._leases[group]
            dead = [queue for queue, lease in leases.items() if self._expired(lease, monotonic_ms)]
            for queue in dead:
                del leases[queue]
            dropped += len(dead)
            if not leases:
                del self._leases[group]
        return dropped

    def _expired(self, lease: _Lease, monotonic_ms: int) -> bool:
        return monotonic_ms - lease.granted_monotonic_ms > self._lock_max_live_ms
