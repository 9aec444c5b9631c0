"""Messages that wait until an arbitrary time: the time wheel."""

from .timer_message_service import TimerMessageService

__all__ = ["TimerMessageService"]
