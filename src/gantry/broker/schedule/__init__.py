"""Messages that wait for their time: delay levels."""

from .schedule_message_service import ScheduleMessageService

__all__ = ["ScheduleMessageService"]
