"""Addresses as text."""

from __future__ import annotations

import ipaddress

import pytest

from gantry.errors import ConfigError
from gantry.runtime.address import (
    format_address,
    format_address_list,
    host_name,
    local_ip,
    parse_address_list,
    split_address,
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:9876", ("127.0.0.1", 9876)),
        (" broker-a.example:0 ", ("broker-a.example", 0)),
        ("[::1]:9876", ("::1", 9876)),
        ("fe80::1:9876", ("fe80::1", 9876)),
        ("a", None),
        ("a:", None),
        (":1", None),
        ("a:65536", None),
        ("a:-1", None),
        ("a:١", None),
        ("", None),
    ],
)
def test_split(text: str, parts: tuple[str, int] | None) -> None:
    if parts is None:
        with pytest.raises(ConfigError, match="is no address"):
            split_address(text)
    else:
        assert split_address(text) == parts
        assert split_address(format_address(*parts)) == parts


def test_list() -> None:
    text = "a:1; b:2 ;;http://c:3/;a:1;[::1]:4;"
    assert parse_address_list(text) == ["a:1", "b:2", "c:3", "[::1]:4"]
    assert format_address_list(parse_address_list(text)) == "a:1;b:2;c:3;[::1]:4"
    assert parse_address_list(" ; ") == []
    with pytest.raises(ConfigError):
        parse_address_list("a:1;b")


def test_this_machine() -> None:
    ipaddress.ip_address(local_ip().strip("[]"))
    assert host_name()
