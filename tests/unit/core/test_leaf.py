"""The leaf loops, each case on both twins."""

from __future__ import annotations

import random
from types import ModuleType

import pytest

from gantry._core import _leaf_py
from tests.golden import GOLDEN

TWINS = [_leaf_py]
try:
    from gantry._core import _leaf_c

    TWINS.append(_leaf_c)
except ImportError:
    pass

each_twin = pytest.mark.parametrize("leaf", TWINS, ids=lambda module: module.__name__.rsplit("_", 1)[-1])


@each_twin
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("TagA", 2598919),
        ("a", 97),
        ("polygenelubricants", -(2**31)),
        ("标签", 857175),
        ("\U0001f600", 1772899),
    ],
)
def test_java_string_hash(leaf: ModuleType, text: str, expected: int) -> None:
    assert leaf.java_string_hash(text) == expected


@each_twin
def test_scan_finds_every_record_of_an_official_log_file(leaf: ModuleType) -> None:
    data = (GOLDEN / "stores/clean/commitlog/00000000000000000000").read_bytes()
    starts, end, reason = leaf.scan_records(data, 0, len(data), True)
    assert (end, reason) == (940288, _leaf_py.END_BLANK)
    assert len(starts) == 64
    assert starts[0] == 0


def test_twins_agree_on_damaged_logs() -> None:
    if len(TWINS) < 2:
        pytest.skip("the compiled core is not built")
    source = (GOLDEN / "stores/clean/commitlog/00000000000000000000").read_bytes()[:20_000]
    rng = random.Random(7)
    for _ in range(400):
        data = bytearray(source)
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        end = rng.randrange(len(data) + 1)
        check = rng.random() < 0.5
        assert _leaf_py.scan_records(data, 0, end, check) == TWINS[1].scan_records(data, 0, end, check)
