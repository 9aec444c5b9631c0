"""The store's settings under their official names; `StoreConfig` is what the store itself takes."""

from __future__ import annotations

import dataclasses
import os.path
from typing import Any

from gantry.errors import ConfigError
from gantry.runtime.config import Config, key
from gantry.store.config import DamagePolicy, FlushDiskType, StoreConfig
from gantry.store.delay_levels import DelayLevels

_DEFAULTS: dict[str, Any] = {
    item.name: item.default for item in dataclasses.fields(StoreConfig) if item.default is not dataclasses.MISSING
}


def _default_root() -> str:
    return os.path.join(os.path.expanduser("~"), "store")


class StoreKeys(Config):
    """Source: MessageStoreConfig (5.3). Defaults are those of `StoreConfig`; the last block is ours."""

    broker_role: str = key(
        "brokerRole", "ASYNC_MASTER", choices=("ASYNC_MASTER", "SYNC_MASTER", "SLAVE"),
        doc="ASYNC_MASTER answers sends at once, SYNC_MASTER after its slaves have the message.",
    )  # fmt: skip
    flush_disk_type: str = key(
        "flushDiskType", FlushDiskType.ASYNC_FLUSH.value, choices=tuple(kind.value for kind in FlushDiskType),
        doc="SYNC_FLUSH answers sends after the disk has the message; ASYNC_FLUSH may lose the last moments in a power cut.",
    )  # fmt: skip
    in_sync_replicas: int | None = key(
        "inSyncReplicas", None, minimum=1,
        doc="Copies a SYNC_MASTER waits for, itself included. Not set: 2, one slave; 1 waits for nobody.",
    )  # fmt: skip
    min_in_sync_replicas: int = key("minInSyncReplicas", 1, minimum=1, doc="Sends are refused while fewer copies are in sync.")
    total_replicas: int = key("totalReplicas", 1, minimum=1, doc="Copies the group has when all are up.")
    slave_timeout: int = key("slaveTimeout", 3000, unit="ms", minimum=1, doc="How long a send waits for slaves.")
    ha_listen_port: int = key("haListenPort", 0, minimum=0, maximum=65535, doc="Port for slaves; 0: listenPort + 1.")
    ha_master_address: str = key("haMasterAddress", "", doc="Replication address of the master, for slaves.")

    store_path_root_dir: str = key(
        "storePathRootDir",
        _default_root,
        doc="Directory of everything this broker keeps.",
        pattern=".+",
        shape="the name of a directory",
    )
    store_path_commit_log: str = key(
        "storePathCommitLog", "", doc="Directory of the commit log; several joined by a comma. Empty: {root}/commitlog."
    )
    mapped_file_size_commit_log: int = key(
        "mappedFileSizeCommitLog",
        _DEFAULTS["mapped_file_size_commit_log"],
        unit="bytes",
        minimum=4096,
        doc="Size of a commit log file.",
    )
    mapped_file_size_consume_queue: int = key(
        "mappedFileSizeConsumeQueue",
        _DEFAULTS["mapped_file_size_consume_queue"],
        unit="bytes",
        minimum=20,
        doc="Size of a consume queue file.",
    )
    max_message_size: int = key(
        "maxMessageSize",
        _DEFAULTS["max_message_size"],
        unit="bytes",
        minimum=1,
        maximum=15 << 20,
        doc="Longest message body; longer ones are refused.",
        reloadable=True,
    )
    message_delay_level: str = key(
        "messageDelayLevel", _DEFAULTS["message_delay_level"], doc="Delays of the levels from 1 up; s, m, h, d."
    )
    message_index_enable: bool = key("messageIndexEnable", True, doc="Keep an index of keys.")
    index_tags_enable: bool = key("indexTagsEnable", True, doc="Index the tag too, as 5.5 does; 5.3 does not.")
    max_hash_slot_num: int = key(
        "maxHashSlotNum", _DEFAULTS["max_hash_slot_num"], minimum=1, doc="Hash slots of an index file."
    )
    max_index_num: int = key("maxIndexNum", _DEFAULTS["max_index_num"], minimum=2, doc="Entries of an index file.")
    max_msgs_num_batch: int = key(
        "maxMsgsNumBatch", _DEFAULTS["max_msgs_num_batch"], minimum=1, doc="Messages a query by key returns at most."
    )
    flush_interval_commit_log: int = key(
        "flushIntervalCommitLog",
        _DEFAULTS["flush_interval_commit_log"],
        unit="ms",
        minimum=1,
        doc="Time between two timed flushes of the log.",
    )
    flush_commit_log_least_pages: int = key(
        "flushCommitLogLeastPages",
        _DEFAULTS["flush_commit_log_least_pages"],
        unit="pages of 4 KiB",
        minimum=0,
        doc="A timed flush waits for so much.",
    )
    flush_commit_log_thorough_interval: int = key(
        "flushCommitLogThoroughInterval",
        _DEFAULTS["flush_commit_log_thorough_interval"],
        unit="ms",
        minimum=1,
        doc="Flush at least so often.",
    )
    flush_interval_consume_queue: int = key(
        "flushIntervalConsumeQueue",
        _DEFAULTS["flush_interval_consume_queue"],
        unit="ms",
        minimum=1,
        doc="Time between two flushes of the queues.",
    )
    flush_consume_queue_thorough_interval: int = key(
        "flushConsumeQueueThoroughInterval",
        _DEFAULTS["flush_consume_queue_thorough_interval"],
        unit="ms",
        minimum=1,
        doc="Flush the queues at least so often.",
    )
    sync_flush_timeout: int = key(
        "syncFlushTimeout",
        _DEFAULTS["sync_flush_timeout"],
        unit="ms",
        minimum=1,
        doc="How long a send waits for the disk before it is answered 10.",
    )
    file_reserved_time: int = key(
        "fileReservedTime",
        _DEFAULTS["file_reserved_time"],
        unit="hours",
        minimum=0,
        doc="Log files older than that are deleted.",
        reloadable=True,
    )
    delete_when: str = key(
        "deleteWhen",
        _DEFAULTS["delete_when"],
        doc="Hours of the day in which old files are deleted: 04 or 04;16.",
        pattern=r"(([01]?[0-9]|2[0-3])(;([01]?[0-9]|2[0-3]))*;?)?",
        shape="hours from 00 to 23, joined by semicolons",
        reloadable=True,
    )
    clean_resource_interval: int = key(
        "cleanResourceInterval", _DEFAULTS["clean_resource_interval"], unit="ms", minimum=1, doc="How often retention looks."
    )
    delete_commit_log_files_interval: int = key(
        "deleteCommitLogFilesInterval",
        _DEFAULTS["delete_commit_log_files_interval"],
        unit="ms",
        minimum=0,
        doc="Pause between two deleted files.",
    )
    delete_file_batch_max: int = key(
        "deleteFileBatchMax",
        _DEFAULTS["delete_file_batch_max"],
        minimum=1,
        doc="Files deleted in one go, at most.",
        reloadable=True,
    )
    clean_file_forcibly_enable: bool = key(
        "cleanFileForciblyEnable",
        True,
        doc="Delete the oldest files, whatever their age, when space is short.",
        reloadable=True,
    )
    disk_max_used_space_ratio: int = key(
        "diskMaxUsedSpaceRatio",
        _DEFAULTS["disk_max_used_space_ratio"],
        unit="percent",
        minimum=10,
        maximum=100,
        doc="Old files are deleted at any hour above it.",
        reloadable=True,
    )
    disk_space_clean_forcibly_ratio: int = key(
        "diskSpaceCleanForciblyRatio",
        _DEFAULTS["disk_space_clean_forcibly_ratio"],
        unit="percent",
        minimum=1,
        maximum=100,
        doc="The oldest files are deleted above it.",
        reloadable=True,
    )
    disk_space_warning_level_ratio: int = key(
        "diskSpaceWarningLevelRatio",
        _DEFAULTS["disk_space_warning_level_ratio"],
        unit="percent",
        minimum=1,
        maximum=100,
        doc="Sends are answered 14 above it.",
        reloadable=True,
    )
    max_transfer_bytes_on_message_in_memory: int = key(
        "maxTransferBytesOnMessageInMemory",
        _DEFAULTS["max_transfer_bytes_on_message_in_memory"],
        unit="bytes",
        minimum=1,
        doc="Of one pull, from memory.",
        reloadable=True,
    )
    max_transfer_count_on_message_in_memory: int = key(
        "maxTransferCountOnMessageInMemory",
        _DEFAULTS["max_transfer_count_on_message_in_memory"],
        minimum=1,
        doc="Messages of one pull, from memory.",
        reloadable=True,
    )
    max_transfer_bytes_on_message_in_disk: int = key(
        "maxTransferBytesOnMessageInDisk",
        _DEFAULTS["max_transfer_bytes_on_message_in_disk"],
        unit="bytes",
        minimum=1,
        doc="Of one pull, from disk.",
        reloadable=True,
    )
    max_transfer_count_on_message_in_disk: int = key(
        "maxTransferCountOnMessageInDisk",
        _DEFAULTS["max_transfer_count_on_message_in_disk"],
        minimum=1,
        doc="Messages of one pull, from disk.",
        reloadable=True,
    )
    access_message_in_memory_max_ratio: int = key(
        "accessMessageInMemoryMaxRatio",
        _DEFAULTS["access_message_in_memory_max_ratio"],
        unit="percent of memory",
        minimum=1,
        maximum=100,
        doc="The newest part of the log that counts as in memory.",
    )
    access_message_in_memory_hot_ratio: int = key(
        "accessMessageInMemoryHotRatio",
        _DEFAULTS["access_message_in_memory_hot_ratio"],
        unit="percent of memory",
        minimum=0,
        maximum=100,
        doc="The newest part of the log that is not cold.",
        reloadable=True,
    )
    cold_data_flow_control_enable: bool = key(
        "coldDataFlowControlEnable", False, doc="Hold back groups that read much cold data.", reloadable=True
    )
    cold_data_scan_enable: bool = key(
        "coldDataScanEnable", False, doc="Old data that the page cache had anyway does not count as cold.", reloadable=True
    )
    data_read_ahead_enable: bool = key(
        "dataReadAheadEnable", True, doc="Reads of old data bring what lies behind it, too.", reloadable=True
    )
    check_crc_on_recover: bool = key("checkCRCOnRecover", True, doc="Check body checksums when the log is read at start.")
    offset_check_in_slave: bool = key("offsetCheckInSlave", False, doc="A slave corrects illegal offsets, too.")
    timer_wheel_enable: bool = key("timerWheelEnable", True, doc="Keep messages with an arbitrary delivery time.")
    timer_precision_ms: int = key(
        "timerPrecisionMs",
        1000,
        unit="ms",
        minimum=10,
        maximum=60_000,
        doc="Width of a slot of the time wheel; messages come so much later than asked at most.",
    )
    timer_max_delay_sec: int = key(
        "timerMaxDelaySec", 259_200, unit="s", minimum=1, maximum=1 << 31, reloadable=True,
        doc="Longest delay; longer ones are refused.",
    )  # fmt: skip
    timer_roll_window_slot: int = key(
        "timerRollWindowSlot", 172_800, unit="slots", minimum=2,
        doc="Messages due later than so many slots are put back into the timer until they are not.",
    )  # fmt: skip
    timer_flush_interval_ms: int = key(
        "timerFlushIntervalMs",
        1000,
        unit="ms",
        minimum=10,
        doc="How often the timer notes how far it has come, if anything changed.",
    )
    mapped_file_size_timer_log: int = key(
        "mappedFileSizeTimerLog", 100 << 20, unit="bytes", minimum=120, doc="Size of a timer log file."
    )
    timer_congest_num_each_slot: int = key(
        "timerCongestNumEachSlot", (1 << 31) - 1, unit="messages", minimum=1, reloadable=True,
        doc="Above it sends due in the same slot are refused more and more often, at twice as many all of them.",
    )  # fmt: skip
    timer_stop_enqueue: bool = key(
        "timerStopEnqueue", False, reloadable=True, doc="Leave new timer messages in their topic, out of the wheel."
    )
    timer_stop_dequeue: bool = key("timerStopDequeue", False, reloadable=True, doc="Let no slot of the wheel fire.")
    append_topic_for_timer_delete_key: bool = key(
        "appendTopicForTimerDeleteKey", False,
        doc="Recall marks name the topic before the unique key, as brokers before 5.5 need it; read are both.",
    )  # fmt: skip

    damage_policy: str = key(
        "damagePolicy", DamagePolicy.STOP.value, choices=tuple(policy.value for policy in DamagePolicy),
        doc="Damage below the synced offset: stop the start, or fence the bad range and serve the rest.",
    )  # fmt: skip
    hot_tail_bytes_max: int = key(
        "hotTailBytesMax",
        _DEFAULTS["hot_tail_bytes_max"],
        unit="bytes",
        minimum=0,
        doc="Newest part of the log kept in the process for readers.",
    )
    prefault_window_bytes: int = key(
        "prefaultWindowBytes",
        _DEFAULTS["prefault_window_bytes"],
        unit="bytes",
        minimum=0,
        doc="Pages touched ahead of the writer.",
    )

    def store_config(self) -> StoreConfig:
        """The store's own form of these settings. Raises: ConfigError."""
        DelayLevels(self.message_delay_level)
        return StoreConfig(**self._store_values())

    def copy_to(self, store_config: StoreConfig) -> None:
        """Hands settings changed at run time on to a running store."""
        for name, declaration in ((k.attribute, k) for k in self.keys().values()):
            if declaration.reloadable and name in _DEFAULTS:
                setattr(store_config, name, getattr(self, name))

    def _store_values(self) -> dict[str, Any]:
        names = {item.name for item in dataclasses.fields(StoreConfig)}
        values = {name: getattr(self, name) for name in (k.attribute for k in self.keys().values()) if name in names}
        try:
            values["flush_disk_type"] = FlushDiskType(values["flush_disk_type"])
            values["damage_policy"] = DamagePolicy(values["damage_policy"])
        except ValueError as error:
            raise ConfigError(str(error)) from None
        return values
