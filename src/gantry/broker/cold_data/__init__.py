"""Flow control of groups that read old data. Door: `ColdDataService`."""

from __future__ import annotations

from .cold_data_service import ColdDataService

__all__ = ["ColdDataService"]
