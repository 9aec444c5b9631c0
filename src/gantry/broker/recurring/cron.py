"""The times of a cron expression in a time zone. Pure, but for the zone's file, which the standard library reads."""

from __future__ import annotations

import re
import zoneinfo
from datetime import datetime

from cronsim import CronSim, CronSimError

EXPRESSION_CHARS_MAX = 128
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}\Z")
_SAME_TIME_MAX = 100
_YEARS_MS = 50 * 366 * 86_400_000


class CronIllegal(ValueError):
    """No cron expression, no time zone, or one that never comes."""


class Cron:
    """Five fields as in Debian's cron (minute, hour, day of month, month, day of week), or six with seconds before them.

    Also names (MON, JAN), ranges, steps, L (last), LW (last weekday) and # (n-th weekday). Around a change of the clocks as
    Debian's cron: a time that is left out comes right after the gap, one that is there twice comes once; expressions with
    a star in minute or hour go by elapsed time.
    Units: ms since 1970. Raises: CronIllegal.
    """

    def __init__(self, expression: str, time_zone: str) -> None:
        if len(expression) > EXPRESSION_CHARS_MAX or not expression.isascii():
            raise CronIllegal(f"a cron expression has at most {EXPRESSION_CHARS_MAX} ASCII characters")
        if not _ZONE.match(time_zone):
            raise CronIllegal(f"{time_zone[:64]!r} is no time zone")
        try:
            self._zone = zoneinfo.ZoneInfo(time_zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise CronIllegal(f"there is no time zone {time_zone}") from None
        self.expression = expression
        self.time_zone = time_zone
        try:
            first = next(CronSim(expression, datetime.fromtimestamp(0, self._zone)))
        except (CronSimError, ValueError, AssertionError) as error:
            raise CronIllegal(f"{expression!r} is no cron expression: {error}") from None
        except StopIteration:
            raise CronIllegal(f"{expression!r} never comes") from None
        assert first is not None

    def next_ms(self, after_ms: int) -> int | None:
        """The first time after a time; None when there is none in the next 50 years."""
        times = CronSim(self.expression, datetime.fromtimestamp(after_ms // 1000, self._zone))
        for _ in range(_SAME_TIME_MAX):
            try:
                at_ms = int(next(times).timestamp()) * 1000
            except (StopIteration, OverflowError):
                return None
            if at_ms > after_ms:
                return at_ms if at_ms < after_ms + _YEARS_MS else None
        return None

    def last_ms(self, upto_ms: int, after_ms: int) -> int | None:
        """The last time in (after, upto]; None when there is none."""
        step_ms = 1000
        found = None
        while found is None and upto_ms - step_ms / 2 > after_ms - step_ms:
            begin_ms = max(upto_ms - step_ms, after_ms)
            at_ms = self.next_ms(begin_ms)
            while at_ms is not None and at_ms <= upto_ms:
                found, at_ms = at_ms, self.next_ms(at_ms)
            if begin_ms == after_ms:
                break
            step_ms *= 8
        return found
