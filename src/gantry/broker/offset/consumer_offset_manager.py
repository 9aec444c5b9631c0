"""Committed offsets of consumer groups."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gantry.errors import ProtocolError, StoreDamaged
from gantry.model import DataVersion
from gantry.protocol import json_dialect

from ..config_file import ConfigFile

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.runtime.disk import Disk

    from ..config import BrokerConfig

log = logging.getLogger(__name__)

SEPARATOR = "@"
NOT_FOUND = -1


class ConsumerOffsetManager:
    """topic@group -> queue id -> next offset to consume; `consumerOffset.json` behind it.

    A commit may go back (operators reset offsets, clients take over queues); it is never refused for that.
    `reset_table` holds offsets set by an operator that the group has not fetched yet; while one waits, queries
    answer it and commits of that queue are ignored.
    Units: offsets in queue entries.
    Source: ConsumerOffsetManager (5.3).
    """

    def __init__(
        self, config: BrokerConfig, disk: Disk, clock: Clock, *, directory: str, checksum_dir: str | None = None
    ) -> None:
        self._config = config
        self._clock = clock
        self._commits = 0
        self.data_version = DataVersion(timestamp=clock.now_ms())
        self.table: dict[str, dict[int, int]] = {}
        self.pull_table: dict[str, dict[int, int]] = {}
        self.reset_table: dict[str, dict[int, int]] = {}
        self.on_moved: Callable[[str, str, int, int], None] = lambda topic, group, queue_id, offset: None
        """Told topic, group, queue id and offset when an operator, and no consumer, has set an offset."""
        self.file = ConfigFile(
            disk, posixpath.join(directory, "consumerOffset.json"), self.to_json_value, checksum_dir=checksum_dir
        )

    # -- reading

    def query(self, group: str, topic: str, queue_id: int) -> int:
        """The group's next offset of the queue; -1 when it never committed one."""
        key = topic + SEPARATOR + group
        if self.reset_table:
            reset = self.reset_table.get(key)
            if reset is not None and queue_id in reset:
                return reset[queue_id]
        offsets = self.table.get(key)
        return NOT_FOUND if offsets is None else offsets.get(queue_id, NOT_FOUND)

    def query_pull(self, group: str, topic: str, queue_id: int) -> int:
        """The offset after what the group was last handed; the committed one when unknown."""
        offset = self.pull_table.get(topic + SEPARATOR + group, {}).get(queue_id)
        return self.query(group, topic, queue_id) if offset is None else offset

    def offsets_of(self, group: str, topic: str) -> dict[int, int] | None:
        return self.table.get(topic + SEPARATOR + group)

    def topics_of(self, group: str) -> set[str]:
        return {topic for topic, owner in map(split_key, self.table) if owner == group}

    def groups_of(self, topic: str) -> set[str]:
        return {group for name, group in map(split_key, self.table) if name == topic}

    def has_reset(self, group: str, topic: str, queue_id: int) -> bool:
        return queue_id in self.reset_table.get(topic + SEPARATOR + group, {})

    def to_json_value(self) -> dict[str, Any]:
        """The table as `consumerOffset.json` has it."""
        groups: dict[str, list[str]] = {}
        for key in self.table:
            topic, group = split_key(key)
            groups.setdefault(group, []).append(topic)
        return {
            "dataVersion": self.data_version,
            "groupTopicMap": groups,
            "offsetTable": self.table,
            "pullOffsetTable": self.pull_table,
        }

    # -- the file

    def load(self) -> None:
        """Reads the file. Raises: StoreDamaged."""
        value = self.file.load()
        if value is None:
            return
        try:
            table = json_dialect.convert(value.get("offsetTable") or {}, dict[str, dict[int, int]])
            version = json_dialect.convert(value.get("dataVersion") or {}, DataVersion)
        except (ProtocolError, ValueError, AttributeError) as error:
            raise StoreDamaged(f"{self.file.path} has no offset table: {error}") from None
        self.table.update(table)
        self.data_version.assign(version)

    def bring_down_to(self, max_offset: Callable[[str, int], int]) -> int:
        """Lowers offsets above their queue's end (the log lost its tail in a crash); returns how many.

        A group that kept such an offset would skip every message written until the queue reaches it again.
        """
        lowered = 0
        for key, offsets in self.table.items():
            topic, group = split_key(key)
            for queue_id, offset in offsets.items():
                end = max_offset(topic, queue_id)
                if offset > end:
                    log.warning(
                        "offset of group %s in %s queue %d is %d, above the queue's end %d: lowered",
                        group,
                        topic,
                        queue_id,
                        offset,
                        end,
                    )
                    offsets[queue_id] = end
                    lowered += 1
        if lowered:
            self._count_change(lowered)
        return lowered

    # -- changing

    def commit(self, group: str, topic: str, queue_id: int, offset: int, client_host: str = "") -> None:
        """Remembers the group's next offset; on disk with the next periodic save."""
        offsets = self.table.setdefault(topic + SEPARATOR + group, {})
        before = offsets.get(queue_id)
        offsets[queue_id] = offset
        if before is not None and offset < before:
            log.warning(
                "[NOTIFYME]update consumer offset less than store. clientHost=%s, key=%s@%s, queueId=%d, requestOffset=%d, "
                "storeOffset=%d",
                client_host, topic, group, queue_id, offset, before,
            )  # fmt: skip
        if before != offset:
            self._count_change()

    def commit_pull(self, group: str, topic: str, queue_id: int, offset: int) -> None:
        """Remembers what the group was last handed; for operators' lag figures."""
        self.pull_table.setdefault(topic + SEPARATOR + group, {})[queue_id] = offset

    def clear_pull(self, group: str, topic: str) -> None:
        self.pull_table.pop(topic + SEPARATOR + group, None)

    def assign_reset_offset(self, topic: str, group: str, queue_id: int, offset: int) -> None:
        """Parks an operator's offset until the group's next pull of the queue fetches it."""
        if not topic or not group or queue_id < 0 or offset < 0:
            log.warning("Ignore reset offset of topic %r group %r queue %d to %d", topic, group, queue_id, offset)
            return
        self.reset_table.setdefault(topic + SEPARATOR + group, {})[queue_id] = offset
        log.info("reset offset OK. Topic=%s, group=%s, queueId=%d, resetOffset=%d", topic, group, queue_id, offset)
        self.table.setdefault(topic + SEPARATOR + group, {})[queue_id] = offset
        self.on_moved(topic, group, queue_id, offset)
        self._count_change()

    def take_reset_offset(self, topic: str, group: str, queue_id: int) -> int | None:
        """The parked offset of a queue, removed; None when there is none."""
        if not self.reset_table:
            return None
        key = topic + SEPARATOR + group
        parked = self.reset_table.get(key)
        if parked is None:
            return None
        offset = parked.pop(queue_id, None)
        if not parked:
            del self.reset_table[key]
        return offset

    def remove_group(self, group: str) -> None:
        self._remove([key for key in self.table if split_key(key)[1] == group])

    def remove_topic(self, topic: str) -> None:
        self._remove([key for key in self.table if split_key(key)[0] == topic])

    def clone(self, source_group: str, target_group: str, topic: str) -> None:
        """Gives a group the offsets another one has in a topic."""
        offsets = self.table.get(topic + SEPARATOR + source_group)
        if offsets is not None:
            self.table[topic + SEPARATOR + target_group] = dict(offsets)
            for queue_id, offset in offsets.items():
                self.on_moved(topic, target_group, queue_id, offset)
            self._count_change()

    def _remove(self, keys: list[str]) -> None:
        for key in keys:
            log.warning("offsets of %s removed: %s", key, self.table.pop(key))
            self.pull_table.pop(key, None)
            self.reset_table.pop(key, None)
        if keys:
            self._count_change()

    def _count_change(self, count: int = 1) -> None:
        # The version follows every so many commits only: a slave compares it to know when to copy the table.
        step = self._config.consumer_offset_update_version_step
        before = self._commits
        self._commits += count
        if self._commits // step != before // step:
            self.data_version.next_version(self._clock.now_ms())
        self.file.touched()


def split_key(key: str) -> tuple[str, str]:
    """topic and group of a table key; the alphabet of names has no '@'."""
    topic, _, group = key.partition(SEPARATOR)
    return topic, group
