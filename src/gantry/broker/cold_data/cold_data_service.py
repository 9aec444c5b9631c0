"""Cold reads of one broker: counted by group, and groups over their threshold held back."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gantry.model import names

from .thresholds import PERIOD_MS, Thresholds

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock, TimerHandle

    from ..config import BrokerConfig

log = logging.getLogger("gantry.coldctr")

HOLD_MS = 3_000
"""How long a pull of a group that is held back waits. Source: ColdDataPullRequestHoldService (5.5)."""

PARKED_MAX = 10_000


class ColdDataService:
    """Nothing is counted or held back while coldDataFlowControlEnable is off.

    park() keeps a pull for HOLD_MS and has it run then. Source: ColdDataCgCtrService, ColdDataPullRequestHoldService (5.5).
    """

    def __init__(self, config: BrokerConfig, clock: Clock) -> None:
        self.thresholds = Thresholds(config)
        self._config = config
        self._clock = clock
        self._period: TimerHandle | None = None
        self._waking: TimerHandle | None = None
        self._parked: deque[tuple[int, Callable[[], Any]]] = deque()

    async def start(self) -> None:
        self._period = self._clock.call_later(PERIOD_MS, self._end_period)

    async def shutdown(self) -> None:
        if self._period is not None:
            self._period.cancel()
            self._period = None
        self.release()

    @property
    def parked_count(self) -> int:
        return len(self._parked)

    def count(self, group: str, size: int) -> None:
        """The group has been handed `size` bytes of cold data."""
        if size and not names.is_predefined_group(group) and not names.is_system_group(group):
            self.thresholds.count(group, size, now_ms=self._clock.now_ms(), monotonic_ms=self._clock.monotonic_ms())

    def is_over(self, group: str) -> bool:
        """The group is to read no more cold data in this period."""
        return self._config.cold_data_flow_control_enable and self.thresholds.is_over(group)

    def park(self, run: Callable[[], Any]) -> bool:
        """Calls `run` in HOLD_MS; False when too many wait."""
        if len(self._parked) >= PARKED_MAX:
            return False
        self._parked.append((self._clock.monotonic_ms() + HOLD_MS, run))
        if self._waking is None:
            self._waking = self._clock.call_later(HOLD_MS, self._wake)
        return True

    def release(self) -> None:
        """Runs all that wait, now."""
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        while self._parked:
            self._parked.popleft()[1]()

    def info(self) -> dict[str, Any]:
        """What GET_COLD_DATA_FLOW_CTR_INFO tells. Source: ColdDataCgCtrService.getColdDataFlowCtrInfo (5.5)."""
        return {
            "runtimeTable": {
                group: {
                    "coldAcc": reads.acc,
                    "createTimeMills": reads.created_ms,
                    "lastColdReadTimeMills": reads.last_ms,
                }
                for group, reads in self.thresholds.reads.items()
            },
            "configTable": dict(self.thresholds.settings),
            "cgColdReadThreshold": self._config.cg_cold_read_threshold,
            "globalColdReadThreshold": self._config.global_cold_read_threshold,
            "globalAcc": self.thresholds.all_read,
        }

    # -- inside

    def _end_period(self) -> None:
        self._period = self._clock.call_later(PERIOD_MS, self._end_period)
        over = [group for group in self.thresholds.reads if self.thresholds.is_over(group)]
        if over:
            log.info("%d groups were held back from cold data, among them %s", len(over), over[0])
        self.thresholds.end_period(monotonic_ms=self._clock.monotonic_ms())

    def _wake(self) -> None:
        self._waking = None
        now = self._clock.monotonic_ms()
        while self._parked and self._parked[0][0] <= now:
            self._parked.popleft()[1]()
        if self._parked and self._waking is None:
            self._waking = self._clock.call_later(max(self._parked[0][0] - now, 1), self._wake)
