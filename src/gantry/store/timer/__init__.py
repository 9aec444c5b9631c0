"""The timer's files: the wheel, the timer log, and how far it has come. Derived from the log; see `TimerBook`."""

from .own_state import TimerState, TopicCount
from .timer_book import Collected, Found, TimerBook
from .timer_walk import Walked, WalkPlace, walk

__all__ = ["Collected", "Found", "TimerBook", "TimerState", "TopicCount", "WalkPlace", "Walked", "walk"]
