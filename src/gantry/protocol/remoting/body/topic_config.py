"""TopicConfigSerializeWrapper: all topics of a broker, as registered, answered and kept in topics.json."""

from __future__ import annotations

from typing import Any

import msgspec

from gantry.model.data_version import DataVersion
from gantry.model.topic_config import TopicConfig


class TopicConfigWrapper(msgspec.Struct, rename="camel"):
    """Topics with the version of the table; the mapping members belong to static topics."""

    topic_config_table: dict[str, TopicConfig] = msgspec.field(default_factory=dict)
    data_version: DataVersion = msgspec.field(default_factory=DataVersion)
    mapping_data_version: DataVersion = msgspec.field(default_factory=DataVersion)
    topic_queue_mapping_info_map: dict[str, Any] = msgspec.field(default_factory=dict)
    topic_queue_mapping_detail_map: dict[str, Any] = msgspec.field(default_factory=dict)


class TopicConfigFile(msgspec.Struct, rename="camel"):
    """topics.json."""

    topic_config_table: dict[str, TopicConfig] = msgspec.field(default_factory=dict)
    data_version: DataVersion = msgspec.field(default_factory=DataVersion)


class TopicConfigListBody(msgspec.Struct, rename="camel"):
    """Body of UPDATE_AND_CREATE_TOPIC_LIST."""

    topic_config_list: list[TopicConfig] = msgspec.field(default_factory=list)
