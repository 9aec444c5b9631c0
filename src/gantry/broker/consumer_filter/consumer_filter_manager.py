"""What consumer groups filter by, as their heartbeats said; `consumerFilter.json` behind it."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from gantry.errors import FilterExpressionError, ProtocolError, StoreDamaged
from gantry.model.heartbeat import SubscriptionData, is_tag_type
from gantry.protocol import json_dialect
from gantry.protocol.filter.bloom import BloomFilter, BloomFilterData

from ..config_file import ConfigFile
from .record_filter import compile_expression

if TYPE_CHECKING:
    from gantry.protocol.filter.sql92 import SqlFilter
    from gantry.runtime.clock import Clock
    from gantry.runtime.disk import Disk

    from ..config import BrokerConfig

log = logging.getLogger(__name__)

FILTER_COUNT_MAX = 20_000
FILTER_CHARS_MAX = 8 * 1024 * 1024
"""Entries, and their expressions together. The dead make room for the living, eldest first; then nobody does, and further
groups are answered that their filter is not there."""

DEAD_BEFORE_LOAD_MS = 30_000
_LOGGED_CHARS = 200


class ConsumerFilterData(msgspec.Struct, rename="camel"):
    """One group's filter of one topic, as the file has it. Source: ConsumerFilterData (5.5).

    Units: the times in ms since 1970; `client_version` is the subscription's version. A `dead_time` at or after
    `born_time` says since when nobody of the group is connected, or the topic is no longer asked for.
    """

    consumer_group: str = ""
    topic: str = ""
    expression: str | None = None
    expression_type: str | None = None
    born_time: int = 0
    dead_time: int = 0
    dead: bool = False
    bloom_filter_data: BloomFilterData | None = None
    client_version: int = 0


class FilterDataMapByTopic(msgspec.Struct, rename="camel"):
    group_filter_data: dict[str, ConsumerFilterData] = msgspec.field(default_factory=dict)
    topic: str = ""


class ConsumerFilterManager:
    """topic -> group -> filter. A filter is known while its group is connected and filterDataCleanTimeSpan after.

    Expressions are compiled when first asked for: a heartbeat may bring very many, and most never meet a pull here.
    Source: ConsumerFilterManager (5.5), which compiles at once; one that is wrong is not there in either.
    """

    def __init__(
        self, config: BrokerConfig, disk: Disk, clock: Clock, *, directory: str, checksum_dir: str | None = None
    ) -> None:
        self._config = config
        self._clock = clock
        self._bloom = BloomFilter(config.max_error_rate_of_bloom_filter, config.expect_consumer_num_use_filter)
        self.table: dict[str, FilterDataMapByTopic] = {}
        self._groups: dict[str, dict[str, ConsumerFilterData]] = {}
        self._dead: dict[tuple[str, str], ConsumerFilterData] = {}
        """By topic and group, in the order of their deaths."""
        self._count = 0
        self._chars = 0
        self.file = ConfigFile(
            disk, posixpath.join(directory, "consumerFilter.json"), self.to_json_value, checksum_dir=checksum_dir
        )

    # -- reading

    def find(self, topic: str, group: str) -> ConsumerFilterData | None:
        """The group's filter, alive or dead; None when none was registered."""
        groups = self.table.get(topic)
        return None if groups is None else groups.group_filter_data.get(group)

    def compiled(self, data: ConsumerFilterData) -> SqlFilter | None:
        """The filter of an entry; None, and the entry is forgotten, when its expression cannot be used."""
        try:
            return compile_expression(data.expression or "", data.expression_type or "")
        except FilterExpressionError as error:
            log.error(
                "parse error: expr=%s, topic=%s, group=%s, error=%s",
                (data.expression or "")[:_LOGGED_CHARS], data.topic, data.consumer_group, error,
            )  # fmt: skip
            self._remove(data)
            return None

    def to_json_value(self) -> dict[str, Any]:
        """The table as `consumerFilter.json` has it."""
        return {"filterDataByTopic": self.table}

    # -- the file

    def load(self) -> None:
        """Reads the file; everyone in it counts as gone since a moment ago. Raises: StoreDamaged."""
        value = self.file.load()
        if value is None:
            return
        try:
            table = json_dialect.convert(value.get("filterDataByTopic") or {}, dict[str, FilterDataMapByTopic])
        except (ProtocolError, ValueError, AttributeError) as error:
            raise StoreDamaged(f"{self.file.path} has no table of filters: {error}") from None
        now_ms = self._clock.now_ms()
        known: list[ConsumerFilterData] = []
        for topic, groups in table.items():
            for group, data in groups.group_filter_data.items():
                data.topic, data.consumer_group = topic, group  # the keys count
                known.append(data)
        for data in sorted(known, key=lambda data: data.dead_time or now_ms):
            data.bloom_filter_data = self._bloom.generate(_key(data.consumer_group, data.topic))
            dead_time = data.dead_time or now_ms - DEAD_BEFORE_LOAD_MS
            self._add(data)
            self._bury(data, dead_time)

    # -- changing

    def register(self, group: str, subscriptions: Iterable[SubscriptionData]) -> None:
        """Takes note of a heartbeat's subscriptions; filters of topics the group no longer names are dead."""
        named: set[str] = set()
        for subscription in subscriptions:
            named.add(subscription.topic)
            if not is_tag_type(subscription.expression_type) and subscription.sub_string:
                self._register(group, subscription)
        for data in self._groups.get(group, {}).values():
            if data.topic not in named and not data.dead:
                log.info("group %s no longer filters topic %s", group, data.topic)
                self._bury(data, self._clock.now_ms())

    def unregister(self, group: str) -> None:
        """Nobody of the group is connected any more."""
        for data in self._groups.get(group, {}).values():
            if not data.dead:
                self._bury(data, self._clock.now_ms())

    def clean(self) -> None:
        """Forgets filters that died too long ago."""
        now_ms = self._clock.now_ms()
        for data in list(self._dead.values()):
            if now_ms - data.dead_time >= self._config.filter_data_clean_time_span:
                log.info("filter of group %s over topic %s died too long ago: removed", data.consumer_group, data.topic)
                self._remove(data)

    # -- inside

    def _register(self, group: str, subscription: SubscriptionData) -> None:
        old = self.find(subscription.topic, group)
        version = subscription.sub_version
        if old is not None and version <= old.client_version:
            # An old client of a mixed group does not bring its own back.
            if version == old.client_version:
                self._revive(old)
            return
        if (
            old is not None
            and old.expression == subscription.sub_string
            and old.expression_type == subscription.expression_type
        ):
            old.client_version = version
            self._revive(old)
            self.file.touched()
            return
        if old is not None:
            self._remove(old)
        if not self._make_room(len(subscription.sub_string)):
            log.warning(
                "no room for the filter of group %s over topic %s: %d are known", group, subscription.topic, self._count
            )
            return
        log.info("group %s filters topic %s by %s", group, subscription.topic, subscription.sub_string[:_LOGGED_CHARS])
        self._add(
            ConsumerFilterData(
                consumer_group=group,
                topic=subscription.topic,
                expression=subscription.sub_string,
                expression_type=subscription.expression_type,
                born_time=self._clock.now_ms(),
                bloom_filter_data=self._bloom.generate(_key(group, subscription.topic)),
                client_version=version,
            )
        )

    def _make_room(self, chars: int) -> bool:
        while self._dead and not self._has_room(chars):
            self._remove(next(iter(self._dead.values())))
        return self._has_room(chars)

    def _has_room(self, chars: int) -> bool:
        return self._count < FILTER_COUNT_MAX and self._chars + chars <= FILTER_CHARS_MAX

    def _bury(self, data: ConsumerFilterData, now_ms: int) -> None:
        data.dead_time = max(now_ms, data.born_time)
        data.dead = True
        self._dead[data.topic, data.consumer_group] = data
        self.file.touched()

    def _revive(self, data: ConsumerFilterData) -> None:
        if data.dead:
            data.dead_time = 0
            data.dead = False
            del self._dead[data.topic, data.consumer_group]
            self.file.touched()

    def _add(self, data: ConsumerFilterData) -> None:
        groups = self.table.setdefault(data.topic, FilterDataMapByTopic(topic=data.topic))
        groups.group_filter_data[data.consumer_group] = data
        self._groups.setdefault(data.consumer_group, {})[data.topic] = data
        self._count += 1
        self._chars += len(data.expression or "")
        self.file.touched()

    def _remove(self, data: ConsumerFilterData) -> None:
        groups = self.table[data.topic]
        del groups.group_filter_data[data.consumer_group]
        if not groups.group_filter_data:
            del self.table[data.topic]
        topics = self._groups[data.consumer_group]
        del topics[data.topic]
        if not topics:
            del self._groups[data.consumer_group]
        self._dead.pop((data.topic, data.consumer_group), None)
        self._count -= 1
        self._chars -= len(data.expression or "")
        self.file.touched()


def _key(group: str, topic: str) -> str:
    return f"{group}#{topic}"
