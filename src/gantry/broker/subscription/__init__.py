"""Consumer groups of this broker."""

from .subscription_group_manager import SubscriptionGroupManager

__all__ = ["SubscriptionGroupManager"]
