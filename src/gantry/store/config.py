"""Settings of the store. Attributes are the official keys in snake_case; the broker maps its config file onto them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum

from gantry._core import ACCEL
from gantry.errors import ConfigError
from gantry.protocol.disk.consume_queue_unit import UNIT_SIZE

DEFAULT_DELAY_LEVELS = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"
MULTI_PATH_SPLITTER = ","


class FlushDiskType(StrEnum):
    ASYNC_FLUSH = "ASYNC_FLUSH"
    SYNC_FLUSH = "SYNC_FLUSH"


class DamagePolicy(StrEnum):
    """What to do at start about bytes below the synced offset that are not what was written."""

    STOP = "stop"
    FENCE = "fence"


_EVERYTHING = 1 << 62


@dataclass(slots=True)
class StoreConfig:
    """Settings of one store directory.

    Units: sizes and offsets in bytes, intervals in ms as the official keys have them, ratios in percent, file_reserved_time
    in hours.
    The lower half is ours: bounds and windows the original does not have.
    """

    store_path_root_dir: str
    store_path_commit_log: str = ""
    flush_disk_type: FlushDiskType = FlushDiskType.ASYNC_FLUSH
    mapped_file_size_commit_log: int = 1 << 30
    mapped_file_size_consume_queue: int = 300_000 * UNIT_SIZE
    max_message_size: int = 4 << 20
    message_index_enable: bool = True
    index_tags_enable: bool = True
    max_hash_slot_num: int = 5_000_000
    max_index_num: int = 20_000_000
    max_msgs_num_batch: int = 64
    flush_interval_commit_log: int = 500
    flush_commit_log_least_pages: int = 4
    flush_commit_log_thorough_interval: int = 10_000
    flush_interval_consume_queue: int = 1000
    flush_consume_queue_thorough_interval: int = 60_000
    sync_flush_timeout: int = 5000
    file_reserved_time: int = 72
    delete_when: str = "04"
    clean_resource_interval: int = 10_000
    delete_commit_log_files_interval: int = 100
    delete_file_batch_max: int = 10
    clean_file_forcibly_enable: bool = True
    disk_max_used_space_ratio: int = 75
    disk_space_clean_forcibly_ratio: int = 85
    disk_space_warning_level_ratio: int = 90
    max_transfer_bytes_on_message_in_memory: int = 256 << 10
    max_transfer_count_on_message_in_memory: int = 32
    max_transfer_bytes_on_message_in_disk: int = 64 << 10
    max_transfer_count_on_message_in_disk: int = 8
    access_message_in_memory_max_ratio: int = 40
    access_message_in_memory_hot_ratio: int = 26
    cold_data_flow_control_enable: bool = False
    cold_data_scan_enable: bool = False
    data_read_ahead_enable: bool = True
    max_filter_message_size: int = 16_000
    check_crc_on_recover: bool = True
    message_delay_level: str = DEFAULT_DELAY_LEVELS
    offset_check_in_slave: bool = False

    damage_policy: DamagePolicy = DamagePolicy.STOP
    hot_tail_bytes_max: int = 16 << 20
    prefault_window_bytes: int = 16 << 20
    checkpoint_bytes: int = 64 << 20
    index_pending_count_max: int = 500_000 if ACCEL == "c" else 20_000  # 24 bytes a key compiled, some 300 in pure Python
    checkpoint_syncs_max: int = 64  # queues whose files a checkpoint syncs one by one; of more, the whole file system
    synced_offset_interval_ms: int = 1000
    open_queue_files_max: int = 512
    queue_tail_bytes_max: int = 64 << 20
    verify_crc_on_read: bool = True
    memory_bytes: int = 0

    changes: int = field(default=0, init=False, repr=False, compare=False)
    """Counts settings as they are set, for whoever keeps copies."""

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if name != "changes":
            object.__setattr__(self, "changes", getattr(self, "changes", 0) + 1)

    def __post_init__(self) -> None:
        self.flush_disk_type = FlushDiskType(self.flush_disk_type)
        self.damage_policy = DamagePolicy(self.damage_policy)
        if not self.store_path_commit_log:
            self.store_path_commit_log = f"{self.store_path_root_dir}/commitlog"
        # The original rounds the queue file up to whole units, so that a unit never spans two files.
        self.mapped_file_size_consume_queue = -(-self.mapped_file_size_consume_queue // UNIT_SIZE) * UNIT_SIZE
        if self.mapped_file_size_commit_log < 4096:
            raise ConfigError(f"mappedFileSizeCommitLog is {self.mapped_file_size_commit_log}; it must be at least 4096 bytes")
        if self.mapped_file_size_consume_queue < UNIT_SIZE:
            raise ConfigError("mappedFileSizeConsumeQueue must hold at least one entry of 20 bytes")
        if self.max_hash_slot_num < 1 or self.max_index_num < 2:
            raise ConfigError("maxHashSlotNum must be at least 1 and maxIndexNum at least 2")
        if not self.memory_bytes:
            self.memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    @property
    def commit_log_paths(self) -> list[str]:
        """Directories of the commit log; file number n lies in the one at n modulo their count."""
        return [path.strip() for path in self.store_path_commit_log.split(MULTI_PATH_SPLITTER) if path.strip()]

    @property
    def is_sync_flush(self) -> bool:
        return self.flush_disk_type is FlushDiskType.SYNC_FLUSH

    @property
    def in_memory_bytes(self) -> int:
        """How far behind the log's end data counts as in memory."""
        return self.memory_bytes * self.access_message_in_memory_max_ratio // 100

    @property
    def hot_area_bytes(self) -> int:
        """How far behind the log's end data counts as hot; no data is cold while nobody asks."""
        if not self.cold_data_flow_control_enable:
            return _EVERYTHING
        return self.memory_bytes * self.access_message_in_memory_hot_ratio // 100

    @property
    def delete_hours(self) -> frozenset[int]:
        """Hours of the day, local time, in which old files are deleted."""
        try:
            return frozenset(int(hour) for hour in self.delete_when.split(";") if hour.strip())
        except ValueError:
            raise ConfigError(f"deleteWhen is {self.delete_when!r}; it must be hours such as 04 or 04;16") from None


class StorePaths:
    """Where things lie below the root. Our own files never lie inside the official directories."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.consume_queue = f"{root}/consumequeue"
        self.index = f"{root}/index"
        self.checkpoint = f"{root}/checkpoint"
        self.abort = f"{root}/abort"
        self.lock = f"{root}/lock"
        self.config = f"{root}/config"
        self.own = f"{root}/gantry"
        self.synced_offset = f"{self.own}/syncedOffset.json"
        self.queue_offsets = f"{self.own}/queueOffsets.json"
        self.staging = f"{self.own}/staging"
        self.damaged = f"{self.own}/damaged"
