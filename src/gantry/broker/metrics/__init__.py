"""Metrics for monitoring, under the official names. Door: `MetricsCounters`; the exporter is loaded when asked for."""

from __future__ import annotations

from .counters import DELAY, NORMAL, MetricsCounters, OutKey, message_kind

__all__ = ["DELAY", "NORMAL", "MetricsCounters", "OutKey", "message_kind"]
