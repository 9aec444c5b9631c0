"""How many bytes of old data each group has read in this period, and how many it may. Pure.

A period ends every PERIOD_MS. Who is at its threshold, or whoever has read cold data while all together are at theirs, is held
back until the next one. The thresholds are the operators', else, with a strategy, what it has found fit, else the default.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from ..config import BrokerConfig

PERIOD_MS = 5_000
FORGOTTEN_MS = 60_000
"""A group that reads no cold data for so long is forgotten, with what the strategy found for it."""

ADAPTIVE = "||adaptive"
"""Ends the names of thresholds that the strategy has found, as tools see them."""

_DECELERATED_MAX = 3
_HISTORY = 10
_KP, _KI, _KD = 0.5, 0.3, 0.2
_FASTER, _SLOWER = 1.5, 0.8


class ColdReads(msgspec.Struct, rename={"acc": "coldAcc", "last_ms": "lastColdReadTimeMills", "created_ms": "createTimeMills"}):
    """Bytes of this period. Units: ms since 1970, shown to tools; `last_monotonic_ms` decides."""

    acc: int
    created_ms: int
    last_ms: int
    last_monotonic_ms: int


class Strategy(Protocol):
    """Moves thresholds between periods. Source: ColdCtrStrategy (5.5)."""

    def collect(self, all_read: int) -> None:
        """The period is over; so many bytes were read by all together."""

    def may_promote(self) -> bool: ...

    def may_decelerate(self, *, all_at_limit: bool) -> bool: ...


class SimpleStrategy:
    """Source: SimpleColdCtrStrategy (5.5)."""

    def collect(self, all_read: int) -> None: ...

    def may_promote(self) -> bool:
        return True

    def may_decelerate(self, *, all_at_limit: bool) -> bool:
        return all_at_limit


class PidStrategy:
    """Steers what all read together towards a wanted figure, looking at the last ten periods.

    Source: PIDAdaptiveColdCtrStrategy (5.5).
    """

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._errors: deque[int] = deque(maxlen=_HISTORY)

    def collect(self, all_read: int) -> None:
        self._errors.append(self._wanted - all_read)

    def factor(self) -> float:
        """Above 0 more may be read, below 0 less; 0 until there are ten periods to judge from."""
        errors = self._errors
        if len(errors) < _HISTORY:
            return 0.0
        return _KP * errors[-1] + _KI * sum(errors) + _KD * (errors[-1] - errors[-2])

    def may_promote(self) -> bool:
        return self.factor() > 0

    def may_decelerate(self, *, all_at_limit: bool) -> bool:
        return self.factor() < 0


class Thresholds:
    """Source: ColdDataCgCtrService (5.5). There, what the strategy has for a group is also compared with an operator's setting
    of the group named by its first letter (a pattern taken for a text); here with that of the group.
    """

    def __init__(self, config: BrokerConfig) -> None:
        self._config = config
        self.reads: dict[str, ColdReads] = {}
        self.settings: dict[str, int] = {}
        """Thresholds by group, and by group and ADAPTIVE."""
        self.all_read = 0
        wanted = int(config.global_cold_read_threshold * _SLOWER)
        self._strategy: Strategy = PidStrategy(wanted) if config.use_pid_cold_ctr_strategy else SimpleStrategy()

    def count(self, group: str, size: int, *, now_ms: int, monotonic_ms: int) -> None:
        """The group has read `size` bytes of cold data."""
        self.all_read += size
        reads = self.reads.get(group)
        if reads is None:
            self.reads[group] = ColdReads(size, now_ms, now_ms, monotonic_ms)
        else:
            reads.acc += size
            reads.last_ms, reads.last_monotonic_ms = now_ms, monotonic_ms

    def is_over(self, group: str) -> bool:
        """The group is to be held back from cold data."""
        reads = self.reads.get(group)
        if reads is None:
            return False
        return reads.acc >= self.threshold(group) or self.all_read >= self._config.global_cold_read_threshold

    def threshold(self, group: str) -> int:
        found = self.settings.get(group)
        if found is None and self._config.cold_ctr_strategy_enable:
            found = self.settings.get(group + ADAPTIVE)
        return self._config.cg_cold_read_threshold if found is None else found

    def end_period(self, *, monotonic_ms: int) -> None:
        adapts = self._config.cold_ctr_strategy_enable
        all_at_limit = self.all_read > self._config.global_cold_read_threshold
        if adapts:
            self._strategy.collect(self.all_read)
        for group, reads in list(self.reads.items()):
            if monotonic_ms - reads.last_monotonic_ms >= FORGOTTEN_MS:
                del self.reads[group]
                if adapts:
                    self.settings.pop(group + ADAPTIVE, None)
            elif adapts and not all_at_limit:
                self._promote(group, reads)
            reads.acc = 0
        if adapts:
            self._decelerate(all_at_limit)
        else:
            for name in [name for name in self.settings if name.endswith(ADAPTIVE)]:
                del self.settings[name]
        self.all_read = 0

    def _promote(self, group: str, reads: ColdReads) -> None:
        threshold = self.threshold(group)
        if reads.acc >= threshold and group not in self.settings and self._strategy.may_promote():
            self.settings[group + ADAPTIVE] = int(threshold * _FASTER)

    def _decelerate(self, all_at_limit: bool) -> None:
        if not self._strategy.may_decelerate(all_at_limit=all_at_limit):
            return
        adapted = [
            name for name in self.settings if name.endswith(ADAPTIVE) and name.removesuffix(ADAPTIVE) not in self.settings
        ]
        for name in sorted(adapted, key=lambda name: -self.settings[name])[:_DECELERATED_MAX]:
            self.settings[name] = max(int(self.settings[name] * _SLOWER), self._config.cg_cold_read_threshold)
