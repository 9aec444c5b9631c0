"""What this broker knows of consumer groups, connected or not."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gantry.errors import ProtocolError, StoreDamaged
from gantry.model import DataVersion, SubscriptionGroupConfig, names, topic_validator
from gantry.protocol import json_dialect

from ..config_file import ConfigFile

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.runtime.disk import Disk

    from ..config import BrokerConfig

log = logging.getLogger(__name__)

FORBIDDEN_READ_BIT = 2
"""Bit of a forbidden mask that forbids reading. Source: PermName.INDEX_PERM_READ (5.3)."""

_BOOT_GROUPS = (
    names.TOOLS_CONSUMER_GROUP,
    names.FILTERSRV_CONSUMER_GROUP,
    names.SELF_TEST_CONSUMER_GROUP,
    names.ONS_HTTP_PROXY_GROUP,
    names.CID_ONSAPI_PULL_GROUP,
    names.CID_ONSAPI_PERMISSION_GROUP,
    names.CID_ONSAPI_OWNER_GROUP,
    names.CID_SYS_RMQ_TRANS,
)


class SubscriptionGroupManager:
    """The group table and `subscriptionGroup.json` behind it.

    `forbidden_table` says which topics a group may not read: group -> topic -> mask of bits.
    Source: SubscriptionGroupManager (5.3).
    """

    def __init__(
        self, config: BrokerConfig, disk: Disk, clock: Clock, *, directory: str, checksum_dir: str | None = None
    ) -> None:
        self._config = config
        self._clock = clock
        self.data_version = DataVersion(timestamp=clock.now_ms())
        self.table: dict[str, SubscriptionGroupConfig] = {
            name: SubscriptionGroupConfig(group_name=name) for name in _BOOT_GROUPS
        }
        self.forbidden_table: dict[str, dict[str, int]] = {}
        self.file = ConfigFile(
            disk, posixpath.join(directory, "subscriptionGroup.json"), self.to_json_value, checksum_dir=checksum_dir
        )

    # -- reading

    def find(self, group: str) -> SubscriptionGroupConfig | None:
        """The group, created with defaults when it is unknown and the configuration allows that."""
        known = self.table.get(group)
        if known is not None:
            return known
        if not (self._config.auto_create_subscription_group or names.is_system_group(group)):
            return None
        if topic_validator.validate_group(group) is not None:
            return None
        created = SubscriptionGroupConfig(group_name=group)
        self.table[group] = created
        log.info("auto create a subscription group, %s", created)
        self._changed()
        return created

    def contains(self, group: str) -> bool:
        return group in self.table

    def forbidden_mask(self, group: str, topic: str) -> int:
        return self.forbidden_table.get(group, {}).get(topic, 0)

    def is_forbidden(self, group: str, topic: str, bit: int) -> bool:
        return bool(self.forbidden_mask(group, topic) >> bit & 1)

    def to_json_value(self) -> dict[str, Any]:
        """The table as `subscriptionGroup.json` has it."""
        return {
            "dataVersion": self.data_version,
            "forbiddenTable": self.forbidden_table,
            "subscriptionGroupTable": self.table,
        }

    # -- the file

    def load(self) -> None:
        """Lays the file's groups over the boot groups. Raises: StoreDamaged."""
        value = self.file.load()
        if value is None:
            return
        try:
            table = json_dialect.convert(value.get("subscriptionGroupTable") or {}, dict[str, SubscriptionGroupConfig])
            forbidden = json_dialect.convert(value.get("forbiddenTable") or {}, dict[str, dict[str, int]])
            version = json_dialect.convert(value.get("dataVersion") or {}, DataVersion)
        except (ProtocolError, ValueError, AttributeError) as error:
            raise StoreDamaged(f"{self.file.path} has no group table: {error}") from None
        self.table.update(table)
        self.forbidden_table.update(forbidden)
        self.data_version.assign(version)

    # -- changing

    def update(self, config: SubscriptionGroupConfig) -> None:
        self.update_all([config])

    def update_all(self, configs: Iterable[SubscriptionGroupConfig]) -> None:
        """Creates or replaces groups; the file follows in the background."""
        any_changed = False
        for config in configs:
            old = self.table.get(config.group_name)
            self.table[config.group_name] = config
            any_changed = True
            if old is None:
                log.info("create new subscription group, %s", config)
            else:
                log.info("update subscription group config, old: %s new: %s", old, config)
        if any_changed:
            self._changed()

    def delete(self, group: str) -> bool:
        """Forgets a group; False when it was not there. Its offsets are the caller's to remove."""
        old = self.table.pop(group, None)
        self.forbidden_table.pop(group, None)
        if old is None:
            log.warning("delete subscription group failed, subscription groupName: %s not exist", group)
            return False
        log.info("delete subscription group OK, subscription group: %s", old)
        self._changed()
        return True

    def update_forbidden(self, group: str, topic: str, bit: int, forbidden: bool) -> None:
        """Sets or clears one bit of what the group may not do with the topic."""
        topics = self.forbidden_table.setdefault(group, {})
        mask = topics.get(topic, 0)
        mask = mask | 1 << bit if forbidden else mask & ~(1 << bit)
        if mask:
            topics[topic] = mask
        else:
            topics.pop(topic, None)
        if not topics:
            del self.forbidden_table[group]
        log.info("group %s topic %s: forbidden mask is now %d", group, topic, mask)
        self._changed()

    def _changed(self) -> None:
        self.data_version.next_version(self._clock.now_ms())
        self.file.changed()
