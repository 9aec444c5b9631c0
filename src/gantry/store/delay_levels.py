"""The table of delay levels: how long a message of level n waits."""

from __future__ import annotations

from gantry.errors import ConfigError

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_UNKNOWN_LEVEL_MS = 1000


class DelayLevels:
    """Delay of each level, from 1 up.

    Shape:  text such as `1s 5s 2h`: number and unit (s, m, h, d), separated by spaces.
    Raises: ConfigError when it is anything else.
    Source: ScheduleMessageService.parseDelayLevel, computeDeliverTimestamp (5.3).
    """

    def __init__(self, text: str) -> None:
        self.delays_ms: list[int] = []
        for item in text.split():
            unit = _UNITS_MS.get(item[-1])
            if unit is None or not (item[:-1].isascii() and item[:-1].isdigit()):
                raise ConfigError(f"messageDelayLevel has {item!r}; each level is a number with s, m, h or d")
            self.delays_ms.append(int(item[:-1]) * unit)

    @property
    def level_max(self) -> int:
        return len(self.delays_ms)

    def delay_ms(self, level: int) -> int:
        """Delay of a level; one that the table does not have counts as 1 s, as in the original."""
        return self.delays_ms[level - 1] if 1 <= level <= len(self.delays_ms) else _UNKNOWN_LEVEL_MS

    def deliver_timestamp(self, level: int, store_timestamp: int) -> int:
        """When a message of this level, stored then, is due. Units: ms since 1970 UTC."""
        return store_timestamp + self.delay_ms(min(level, self.level_max))
