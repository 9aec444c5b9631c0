"""Which topics this broker has, how many queues each, and who may use them."""

from __future__ import annotations

import asyncio
import logging
import posixpath
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gantry.errors import ProtocolError, StoreDamaged
from gantry.model import DataVersion, TopicConfig, perm_name, topic_validator
from gantry.protocol import json_dialect

from ..config_file import ConfigFile
from .boot_topics import boot_topics

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.runtime.disk import Disk

    from ..config import BrokerConfig

log = logging.getLogger(__name__)


class TopicConfigManager:
    """The topic table, `topics.json` behind it, and the rules by which a send may create a topic.

    `table` is read by everybody, the hot path included; it is changed only here. Its values are never changed in
    place: a change puts a new TopicConfig in. `system_topics` are the names of this broker's boot topics.
    Source: TopicConfigManager (5.3).
    """

    def __init__(
        self,
        config: BrokerConfig,
        disk: Disk,
        clock: Clock,
        *,
        directory: str,
        checksum_dir: str | None = None,
        on_change: Callable[[list[str]], None] = lambda names: None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._on_change = on_change
        self._creating: dict[str, asyncio.Future[None]] = {}
        self._unsaved: dict[str, TopicConfig] = {}
        self.data_version = DataVersion(timestamp=clock.now_ms())
        self.table: dict[str, TopicConfig] = {}
        self.system_topics: set[str] = set()
        for topic in boot_topics(config):
            self.table[topic.topic_name] = topic
            self.system_topics.add(topic.topic_name)
        self.file = ConfigFile(disk, posixpath.join(directory, "topics.json"), self.to_json_value, checksum_dir=checksum_dir)

    # -- reading

    def select(self, topic: str) -> TopicConfig | None:
        return self.table.get(topic)

    def contains(self, topic: str) -> bool:
        return topic in self.table

    def is_order_topic(self, topic: str) -> bool:
        config = self.table.get(topic)
        return config is not None and config.order

    def is_system_topic(self, topic: str) -> bool:
        """A topic that belongs to the system: official names, and those of this broker and its cluster."""
        return topic in self.system_topics or topic_validator.is_system_topic(topic)

    def to_json_value(self) -> dict[str, Any]:
        """The table as `topics.json` has it."""
        return {"dataVersion": self.data_version, "topicConfigTable": {**self.table, **self._unsaved}}

    # -- the file

    def load(self) -> None:
        """Lays the file's topics over the boot topics. Raises: StoreDamaged."""
        value = self.file.load()
        if value is None:
            return
        try:
            table = json_dialect.convert(value.get("topicConfigTable") or {}, dict[str, TopicConfig])
            version = json_dialect.convert(value.get("dataVersion") or {}, DataVersion)
        except (ProtocolError, ValueError, AttributeError) as error:
            raise StoreDamaged(f"{self.file.path} has no topic table: {error}") from None
        self.table.update(table)
        self.data_version.assign(version)

    # -- changing

    def update(self, topic: TopicConfig) -> None:
        """Creates or replaces one topic; the file follows in the background, name servers at once."""
        self.update_all([topic])

    def update_all(self, topics: Iterable[TopicConfig]) -> None:
        names = []
        for topic in topics:
            old = self.table.get(topic.topic_name)
            self.table[topic.topic_name] = topic
            names.append(topic.topic_name)
            if old is None:
                log.info("create new topic %s", topic)
            else:
                log.info("update topic config, old: %s new: %s", old, topic)
        if names:
            self._changed(names)

    def delete(self, topic: str) -> bool:
        """Forgets one topic; False when it was not there. Its queues and offsets are the caller's to remove."""
        old = self.table.pop(topic, None)
        if old is None:
            log.warning("delete topic config failed, topic: %s not exists", topic)
            return False
        log.info("delete topic config OK, topic: %s", old)
        self._changed([topic])
        return True

    def update_order_topics(self, order_topics: Iterable[str]) -> None:
        """Marks as ordered what the name servers' order configuration names."""
        self.update_all(
            [
                _replaced(config, order=True)
                for name in order_topics
                if (config := self.table.get(name)) is not None and not config.order
            ]
        )

    async def create_in_send(
        self, topic: str, default_topic: str, client_queue_nums: int, *, topic_sys_flag: int = 0, remote_address: str = ""
    ) -> TopicConfig | None:
        """The topic, created after the pattern of `default_topic` when that allows it; None when it does not.

        Returns after the topic is in `topics.json`: a message acknowledged to a topic that a crash then takes back
        could not be read any more. Raises: StoreError when the file cannot be written; the topic is not made then.
        """
        known = self.table.get(topic)
        if known is not None:
            return known
        default = self.table.get(default_topic)
        if default is None:
            log.warning(
                "Create new topic failed, because the default topic[%s] not exist. producer:[%s]", default_topic, remote_address
            )
            return None
        if (
            default_topic == topic_validator.DEFAULT_TOPIC
            and not self._config.auto_create_topic_enable
            and perm_name.is_inherited(default.perm)
        ):
            default = self.table[default_topic] = _replaced(default, perm=perm_name.PERM_READ_WRITE)
        if not perm_name.is_inherited(default.perm):
            log.warning(
                "Create new topic failed, because the default topic[%s] has no perm [%d] producer:[%s]",
                default_topic, default.perm, remote_address,
            )  # fmt: skip
            return None
        queue_nums = max(min(client_queue_nums, default.write_queue_nums), 0)
        return await self.create_if_absent(
            TopicConfig(
                topic_name=topic,
                read_queue_nums=queue_nums,
                write_queue_nums=queue_nums,
                perm=default.perm & ~perm_name.PERM_INHERIT,
                topic_sys_flag=topic_sys_flag,
                topic_filter_type=default.topic_filter_type,
            )
        )

    async def create_if_absent(self, topic: TopicConfig) -> TopicConfig:
        """The topic of that name, made from `topic` when there is none; on disk when this returns."""
        name = topic.topic_name
        while (making := self._creating.get(name)) is not None:
            await asyncio.shield(making)
        known = self.table.get(name)
        if known is not None:
            return known
        made = self._creating[name] = asyncio.get_running_loop().create_future()
        # Not in `table` yet: what is there can be sent to, and its messages acknowledged.
        self._unsaved[name] = topic
        try:
            self.data_version.next_version(self._clock.now_ms())
            self.file.touched()
            await self.file.flush()
            self.table[name] = topic
        finally:
            del self._unsaved[name]
            del self._creating[name]
            made.set_result(None)
        log.info("Create new topic [%s]", topic)
        self._on_change([name])
        return topic

    def create_retry(self, topic: str, queue_nums: int, perm: int, topic_sys_flag: int = 0) -> TopicConfig:
        """A group's retry topic, made in the background when there is none (heartbeats do not wait for the disk)."""
        known = self.table.get(topic)
        if known is not None:
            return known
        config = retry_topic_config(topic, queue_nums, perm, topic_sys_flag)
        self.update(config)
        return config

    def _changed(self, names: list[str]) -> None:
        self.data_version.next_version(self._clock.now_ms())
        self.file.changed()
        self._on_change(names)


def retry_topic_config(topic: str, queue_nums: int, perm: int, topic_sys_flag: int = 0) -> TopicConfig:
    """The shape of retry and dead letter topics: created by the system, not after a pattern."""
    return TopicConfig(
        topic_name=topic, read_queue_nums=queue_nums, write_queue_nums=queue_nums, perm=perm, topic_sys_flag=topic_sys_flag
    )


def _replaced(config: TopicConfig, *, perm: int | None = None, order: bool | None = None) -> TopicConfig:
    copy = config.copy()
    if perm is not None:
        copy.perm = perm
    if order is not None:
        copy.order = order
    return copy
