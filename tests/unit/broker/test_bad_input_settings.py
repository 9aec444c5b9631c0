"""Settings that cannot be: told with the key, the value and what is allowed."""

from __future__ import annotations

import pytest

from gantry.broker.config import BrokerConfig
from gantry.errors import ConfigError
from gantry.store.delay_levels import DelayLevels


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("listenPort", "65536", "a whole number from 0 to 65535"),
        ("listenPort", "-1", "a whole number from 0 to 65535"),
        ("listenPort", "1.0", "a whole number from 0 to 65535"),
        ("listenPort", "٣", "a whole number from 0 to 65535"),
        ("brokerRole", "KING", "one of ASYNC_MASTER, SYNC_MASTER, SLAVE"),
        ("mappedFileSizeCommitLog", "1k", "a whole number, at least 4096 (bytes)"),
        ("mappedFileSizeConsumeQueue", "7", "a whole number, at least 20 (bytes)"),
        ("maxHashSlotNum", "0", "a whole number, at least 1"),
        ("fileReservedTime", "9" * 30, "a whole number, at least 0 (hours)"),
        ("fileReservedTime", "", "a whole number, at least 0 (hours)"),
        ("maxMessageSize", "-1", "a whole number from 1 to 15728640 (bytes)"),
        ("deleteWhen", "24", "hours from 00 to 23, joined by semicolons"),
        ("deleteWhen", "04,16", "hours from 00 to 23, joined by semicolons"),
        ("deleteWhen", "noon", "hours from 00 to 23, joined by semicolons"),
        ("storePathRootDir", "", "the name of a directory"),
        ("brokerPermission", "9", "a whole number from 0 to 7"),
        ("inSyncReplicas", "0", "a whole number, at least 1"),
        ("autoCreateTopicEnable", "maybe", "true or false"),
        ("connectionsMax", "0", "a whole number, at least 1"),
        ("connectionsPerAddressMax", "-1", "a whole number, at least 1"),
    ],
)
def test_a_bad_setting_is_told_with_key_value_and_what_is_allowed(key: str, value: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BrokerConfig.from_properties({key: value})
    assert str(caught.value) == f"{key}={value} is not allowed: {allowed} is expected"


@pytest.mark.parametrize("value", ["04", "4", "04;16", "00;23;", ""])
def test_hours_of_deletion_as_operators_write_them(value: str) -> None:
    config = BrokerConfig.from_properties({"deleteWhen": value})
    hours = {int(hour) for hour in value.split(";") if hour}
    assert config.store_config().delete_hours == hours


@pytest.mark.parametrize("text", ["1s foo", "s", "1", "²s", "-1s", "1.5s", "1s\0"])
def test_a_delay_level_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="messageDelayLevel has "):
        DelayLevels(text)
