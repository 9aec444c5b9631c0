"""Subscription expressions."""

from gantry.protocol.filter.tag import build_subscription, tags_match

__all__ = ["build_subscription", "tags_match"]
