"""The fuzz targets (tests/fuzz) hold for what they begin with, changed a little; and each tells a codec that is wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from gantry.protocol.filter.sql92 import parser
from gantry.store.redispatch import Redispatch
from tests.fuzz.__main__ import TARGETS

CHANGES = 150
CHANGES_SLOW = 30


def target(name: str) -> ModuleType:
    return import_module(f"tests.fuzz.{name}")


def check_seeds(module: ModuleType) -> None:
    for seed in module.seeds():
        module.check(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_their_neighbours(name: str) -> None:
    module, rng = target(name), random.Random(1)
    seeds = list(module.seeds())
    assert len(seeds) >= 3
    check_seeds(module)
    for _ in range(CHANGES_SLOW if name == "store_files" else CHANGES):
        data = bytearray(rng.choice(seeds) or b"x")
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 2, 127, 128, 255, rng.randrange(256)))
        module.check(bytes(data))


def wrong(real: Callable[..., Any], change: Callable[[Any], Any]) -> Callable[..., Any]:
    """What a function returns, changed."""
    return lambda *values, **options: change(real(*values, **options))


@pytest.mark.parametrize(
    ("name", "function", "change"),
    [
        ("frames", "encode_command", lambda data: data[:8] + data[8:].replace(b"topic", b"tropic")),
        ("records", "encode_record", lambda data: data[:12] + b"\1\1\1\1" + data[16:]),
        ("properties", "find_property", lambda value: value or b""),
        ("subscription_expressions", "tags_match", lambda matches: not matches),
    ],
)
def test_a_wrong_codec_is_told(name: str, function: str, change: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    module = target(name)
    monkeypatch.setattr(module, function, wrong(getattr(module, function), change))
    with pytest.raises(AssertionError):
        check_seeds(module)


def test_a_filter_that_forgets_its_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    module = target("sql_expressions")
    monkeypatch.setattr(parser._Parser, "_not", lambda self, operand, position: self._as_boolean(operand))
    with pytest.raises(AssertionError):
        check_seeds(module)


def test_a_header_that_loses_a_field_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    module = target("headers")
    encode = module.RequestHeader.encode
    monkeypatch.setattr(module.RequestHeader, "encode", wrong(encode, lambda fields: dict(list(fields.items())[:-1])))
    with pytest.raises(AssertionError):
        check_seeds(module)


def test_a_recovery_that_believes_every_offset_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fuzzer found here: a queue was filled up to whatever offset a record named."""
    module = target("store_files")
    sound = module.sound_store(module.KILLED)
    log = next(number for number, path in enumerate(sound) if "/commitlog/" in path)
    third = 2 * int.from_bytes(list(sound.values())[log][:4], "big")
    data = bytes((module.KILLED, log, 0)) + (third + 20).to_bytes(2, "big") + (1 << 44).to_bytes(8, "big")
    module.check(data)
    monkeypatch.setattr(Redispatch, "may_follow", lambda *values: True)
    with pytest.raises((MemoryError, OverflowError)):
        module.check(data)
