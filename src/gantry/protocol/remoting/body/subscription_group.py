"""SubscriptionGroupWrapper: all consumer groups of a broker, as answered and kept in subscriptionGroup.json."""

from __future__ import annotations

import msgspec

from gantry.model.data_version import DataVersion
from gantry.model.subscription_group_config import SubscriptionGroupConfig


class SubscriptionGroupWrapper(msgspec.Struct, rename="camel"):
    """Groups with the version of the table; `forbidden_table` is group -> topic -> bits (4 set: may not read)."""

    subscription_group_table: dict[str, SubscriptionGroupConfig] = msgspec.field(default_factory=dict)
    forbidden_table: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    data_version: DataVersion = msgspec.field(default_factory=DataVersion)


class SubscriptionGroupListBody(msgspec.Struct, rename="camel"):
    """Body of UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST."""

    group_config_list: list[SubscriptionGroupConfig] = msgspec.field(default_factory=list)
