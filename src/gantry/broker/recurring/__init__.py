"""Messages by cron expressions."""

from .cron import Cron, CronIllegal
from .recurring_timers import RecurringRefused, RecurringTimerService

__all__ = ["Cron", "CronIllegal", "RecurringRefused", "RecurringTimerService"]
