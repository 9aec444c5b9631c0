"""The configuration samples: every key in them, set or only suggested, is one that the servers know."""

from __future__ import annotations

import re

import pytest

from gantry.broker import BrokerConfig
from gantry.namesrv import NamesrvConfig
from gantry.runtime.properties import decode_properties, parse_properties
from tests.e2e.shell import ROOT

CONF = ROOT / "src" / "gantry" / "conf"
SAMPLES = sorted(path.relative_to(CONF).as_posix() for path in CONF.rglob("*.*") if path.is_file())
SUGGESTED = re.compile(r"^#(?=[A-Za-z0-9]+=)", re.MULTILINE)


def test_the_official_names_are_all_there() -> None:
    assert set(SAMPLES) == {
        "broker.conf",
        "namesrv.properties",
        *(f"2m-noslave/broker-{name}.properties" for name in ("a", "b", "trace")),
        *(f"2m-2s-{kind}/broker-{name}.properties" for kind in ("async", "sync") for name in ("a", "b")),
    }


def test_conf_lies_beside_bin_as_in_the_guides() -> None:
    assert (ROOT / "conf" / "2m-noslave" / "broker-a.properties").samefile(CONF / "2m-noslave" / "broker-a.properties")


@pytest.mark.parametrize("name", SAMPLES)
def test_every_key_of_a_sample_is_known_and_its_value_allowed(name: str) -> None:
    text = decode_properties((CONF / name).read_bytes())
    kind = NamesrvConfig if name.startswith("namesrv") else BrokerConfig
    kind.from_properties(parse_properties(text), strict=True)
    suggested = parse_properties(SUGGESTED.sub("", text))
    kind.from_properties(suggested, strict=True)
