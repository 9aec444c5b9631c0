"""The unique client id (property UNIQ_KEY): what users see as message id, unique without asking anybody.

The name-time part lets tools estimate when a message was sent; ids of other makers must not be assumed to have it.
"""

from __future__ import annotations

import ipaddress
import time

_COUNTER_MASK = 0xFFFF
_U4 = 0xFFFFFFFF
_DAY_MS = 86_400_000


class UniqueIdMaker:
    """Makes unique client ids; one per process is enough.

    Shape:  ip (4 or 16) + pid u2 + seed i4 + ms since the first of the month, local time, i4 + counter u2, upper-case hex:
            32 or 56 characters. The official seed is a class loader's hash, a number of no meaning.
    Units:  now_ms is ms since 1970 UTC.
    Source: MessageClientIDSetter (5.3).
    """

    def __init__(self, *, ip: str, pid: int, seed: int) -> None:
        packed = ipaddress.ip_address(ip).packed
        self._prefix = packed + (pid & 0xFFFF).to_bytes(2, "big") + (seed & _U4).to_bytes(4, "big")
        self._counter = 0
        self._month_start_ms = 0
        self._month_end_ms = 0

    def next_id(self, now_ms: int) -> str:
        if not self._month_start_ms <= now_ms < self._month_end_ms:
            self._month_start_ms, self._month_end_ms = month_bounds_ms(now_ms)
        counter = self._counter = (self._counter + 1) & _COUNTER_MASK
        since = (now_ms - self._month_start_ms) & _U4
        return (self._prefix + since.to_bytes(4, "big") + counter.to_bytes(2, "big")).hex().upper()


def month_bounds_ms(now_ms: int) -> tuple[int, int]:
    """First ms of the month of now_ms in local time, and first ms of the following month."""
    start = _month_start_ms(now_ms)
    return start, _month_start_ms(start + 35 * _DAY_MS)


def _month_start_ms(at_ms: int) -> int:
    local = time.localtime(at_ms / 1000)
    return int(time.mktime((local.tm_year, local.tm_mon, 1, 0, 0, 0, 0, 0, -1)) * 1000)
