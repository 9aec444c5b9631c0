"""The compiled CRC-32 is zlib's, whatever the length and the place in memory."""

from __future__ import annotations

import random
import zlib

import pytest

from gantry._core import ACCEL

pytestmark = pytest.mark.skipif(ACCEL != "c", reason="the compiled core is not in use")


def test_it_is_zlibs() -> None:
    from gantry._core._leaf_c import crc32

    rng = random.Random(7)
    data = rng.randbytes(5000)
    for size in [*range(300), 511, 512, 1023, 1024, 4096, 4999]:
        begin = rng.randrange(len(data) - size)
        piece = memoryview(data)[begin : begin + size]
        assert crc32(piece) == zlib.crc32(piece), (begin, size)
    assert crc32(bytes(1000)) == zlib.crc32(bytes(1000))
    assert crc32(b"\xff" * 1000) == zlib.crc32(b"\xff" * 1000)
