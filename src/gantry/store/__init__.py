"""The message store: one log, queues and index derived from it, in the official on-disk formats."""

from gantry.store.append import AppendPlan
from gantry.store.config import DamagePolicy, FlushDiskType, StoreConfig, StorePaths
from gantry.store.delay_levels import DelayLevels
from gantry.store.message_store import MessageStore
from gantry.store.reader import RecordFilter
from gantry.store.results import GetResult, PlannedRecord, PutResult, QueryResult
from gantry.store.status import BoundaryType, GetStatus, PutStatus

__all__ = [
    "AppendPlan",
    "BoundaryType",
    "DamagePolicy",
    "DelayLevels",
    "FlushDiskType",
    "GetResult",
    "GetStatus",
    "MessageStore",
    "PlannedRecord",
    "PutResult",
    "PutStatus",
    "QueryResult",
    "RecordFilter",
    "StoreConfig",
    "StorePaths",
]
