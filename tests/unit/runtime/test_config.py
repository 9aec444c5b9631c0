"""Configuration declared once per key."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.errors import ConfigError
from gantry.runtime.config import MASK, Config, key
from gantry.runtime.properties import format_properties, parse_properties


class StoreConfig(Config):
    store_path: str = key("storePathRootDir", lambda: "/made/by/default", doc="Where the store lies.")
    flush_disk_type: str = key("flushDiskType", "ASYNC_FLUSH", choices=("ASYNC_FLUSH", "SYNC_FLUSH"))
    flush_interval: int = key("flushIntervalCommitLog", 500, unit="ms", minimum=0, reloadable=True)


class ServerConfig(StoreConfig):
    listen_port: int = key("listenPort", 9876, minimum=0, maximum=65535)
    ratio: float = key("ratio", 0.5, minimum=0, maximum=1, reloadable=True)
    enabled: bool = key("enabled", False, reloadable=True)
    namesrv_addr: str | None = key("namesrvAddr", None)
    password: str | None = key("password", None, secret=True, reloadable=True)
    limit: int | None = key("limit", None, maximum=10)


def test_defaults_and_inheritance() -> None:
    config = ServerConfig()
    assert config.listen_port == 9876
    assert config.store_path == "/made/by/default"
    assert list(ServerConfig.keys())[:4] == ["storePathRootDir", "flushDiskType", "flushIntervalCommitLog", "listenPort"]
    declared = ServerConfig.keys()["flushIntervalCommitLog"]
    assert (declared.attribute, declared.kind, declared.unit, declared.reloadable) == (
        "flush_interval", int, "ms", True
    )  # fmt: skip


def test_a_subclass_may_change_a_default() -> None:
    class Small(ServerConfig):
        listen_port: int = key("listenPort", 10911)

    assert Small().listen_port == 10911
    assert list(Small.keys()).count("listenPort") == 1
    assert ServerConfig().listen_port == 9876


def test_instances_do_not_share_values() -> None:
    one, two = ServerConfig(listen_port=1), ServerConfig()
    one.enabled = True
    one.unknown["x"] = "1"
    assert (two.listen_port, two.enabled, two.unknown) == (9876, False, {})


def test_from_properties(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = ServerConfig.from_properties(
            {"listenPort": " 1 ", "enabled": "TRUE", "ratio": "1e-1", "namesrvAddr": "a:1", "strange": "x", "limit": ""}
        )
    assert (config.listen_port, config.enabled, config.ratio, config.namesrv_addr) == (1, True, 0.1, "a:1")
    assert config.limit is None
    assert config.unknown == {"strange": "x"}
    assert "strange" in caplog.text
    with pytest.raises(ConfigError, match="unknown keys: strange"):
        ServerConfig.from_properties({"strange": "x"}, strict=True)


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("listenPort", "65536", "a whole number from 0 to 65535"),
        ("listenPort", "-1", "a whole number from 0 to 65535"),
        ("listenPort", "1_0", "a whole number from 0 to 65535"),
        ("listenPort", "٣", "a whole number from 0 to 65535"),
        ("listenPort", "", "a whole number from 0 to 65535"),
        ("listenPort", "9" * 5000, "a whole number from 0 to 65535"),
        ("flushIntervalCommitLog", "-5", r"a whole number, at least 0 \(ms\)"),
        ("flushIntervalCommitLog", "9223372036854775808", r"a whole number, at least 0 \(ms\)"),
        ("flushDiskType", "sync", "one of ASYNC_FLUSH, SYNC_FLUSH"),
        ("enabled", "yes", "true or false"),
        ("ratio", "nan", "a number from 0 to 1"),
        ("ratio", "inf", "a number from 0 to 1"),
        ("ratio", "1.5", "a number from 0 to 1"),
        ("limit", "11", "a whole number, at most 10"),
        ("namesrvAddr", "a:1\nlistenPort=2", "one line of text"),
    ],
)
def test_bad_values_are_named_with_what_is_allowed(name: str, text: str, allowed: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}=.*{allowed} is expected") as caught:
        ServerConfig.from_properties({name: text})
    assert "\n" not in str(caught.value)


def test_nothing_is_set_when_one_value_is_bad() -> None:
    config = ServerConfig()
    with pytest.raises(ConfigError):
        config.apply({"listenPort": "1", "ratio": "x"})
    assert config.listen_port == 9876
    with pytest.raises(ConfigError):
        config.update_all({"enabled": "true", "ratio": "7"})
    assert config.enabled is False


def test_attributes_are_checked_when_set() -> None:
    config = ServerConfig()
    with pytest.raises(ConfigError):
        config.listen_port = 70000
    with pytest.raises(ConfigError):
        config.listen_port = "1"  # type: ignore[assignment]
    with pytest.raises(ConfigError):
        config.listen_port = True
    with pytest.raises(AttributeError, match="no key lisen_port"):
        config.lisen_port = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="lisen_port"):
        ServerConfig(lisen_port=1)
    config.ratio = 1
    assert config.ratio == 1.0
    assert config.listen_port == 9876


def test_only_reloadable_keys_change_at_run_time() -> None:
    config = ServerConfig()
    config.update("enabled", "true")
    assert config.enabled is True
    with pytest.raises(ConfigError, match="listenPort cannot be changed while the process runs"):
        config.update("listenPort", "1")
    with pytest.raises(ConfigError, match="rocketmqHome is no configuration key"):
        config.update("rocketmqHome", "-c $@|sh . echo")
    with pytest.raises(ConfigError):
        config.update_all({"enabled": "false", "storePathRootDir": "/etc"})
    assert config.enabled is True


def test_secrets_are_masked_wherever_configuration_is_shown() -> None:
    config = ServerConfig.from_properties({"password": "hunter2"})
    assert "hunter2" not in repr(config)
    assert config.to_properties(mask_secrets=True)["password"] == MASK
    assert config.to_properties()["password"] == "hunter2"
    # Of a key that this version does not know, the name decides.
    unknown = {"tls.client.keyPassword": "hunter2", "secretKey": "hunter2", "aToken": "", "defaultThreads": "4"}
    shown = ServerConfig.from_properties(unknown).to_properties(mask_secrets=True)
    assert [shown[name] for name in unknown] == [MASK, MASK, "", "4"]
    with pytest.raises(ConfigError) as caught:
        config.update("password", "hunter3\0")
    assert "hunter" not in str(caught.value)


@given(
    port=st.integers(0, 65535),
    ratio=st.floats(0, 1),
    enabled=st.booleans(),
    text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip),
    interval=st.integers(0, 2**63 - 1),
)
def test_what_is_saved_is_loaded_again(port: int, ratio: float, enabled: bool, text: str, interval: int) -> None:
    config = ServerConfig(listen_port=port, ratio=ratio, enabled=enabled, namesrv_addr=text or None, flush_interval=interval)
    config.unknown["later.key"] = text
    saved = format_properties(config.to_properties())
    loaded = ServerConfig.from_properties(parse_properties(saved))
    assert loaded.to_properties() == config.to_properties()


@pytest.mark.parametrize(
    "body",
    [
        {"__annotations__": {"a": list}, "a": key("a", [])},
        {"__annotations__": {"a": int | str}, "a": key("a", 1)},
        {"a": key("a", 1)},
        {"__annotations__": {"a": int, "b": int}, "a": key("x", 1), "b": key("x", 1)},
    ],
)
def test_wrong_declarations_fail_at_import(body: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        type("Wrong", (Config,), body)


def test_a_default_out_of_bounds_fails_at_import() -> None:
    with pytest.raises(ConfigError):
        type("Wrong", (Config,), {"__annotations__": {"a": int}, "a": key("a", 5, maximum=4)})
