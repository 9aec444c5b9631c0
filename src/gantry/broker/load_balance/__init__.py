"""Which client of a group gets which queues, when the broker computes it. Door: `STRATEGIES`, `allocate_for_pop`."""

from .allocate import STRATEGIES, Strategy, allocate_for_pop

__all__ = ["STRATEGIES", "Strategy", "allocate_for_pop"]
