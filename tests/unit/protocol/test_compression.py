from __future__ import annotations

import contextlib
import zlib

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gantry.errors import RemoteProtocolError
from gantry.model import sys_flag
from gantry.protocol.message.compression import compress_zlib, decompress

KINDS = {
    "zlib": (zlib.compress, sys_flag.COMPRESSED | sys_flag.COMPRESSION_ZLIB),
    "zlib of old clients": (zlib.compress, sys_flag.COMPRESSED),
    "lz4": (lz4.frame.compress, sys_flag.COMPRESSED | sys_flag.COMPRESSION_LZ4),
    "zstd": (zstandard.ZstdCompressor().compress, sys_flag.COMPRESSED | sys_flag.COMPRESSION_ZSTD),
}
every_kind = pytest.mark.parametrize(("compress", "flags"), KINDS.values(), ids=KINDS)


@every_kind
def test_round_trip(compress, flags) -> None:  # type: ignore[no-untyped-def]
    for body in (b"", b"x", b"hello " * 10_000):
        assert decompress(compress(body), flags, size_max=1 << 20) == body


@every_kind
def test_body_may_be_exactly_as_large_as_the_bound(compress, flags) -> None:  # type: ignore[no-untyped-def]
    assert len(decompress(compress(b"x" * 1000), flags, size_max=1000)) == 1000
    with pytest.raises(RemoteProtocolError, match="more than 999 bytes"):
        decompress(compress(b"x" * 1000), flags, size_max=999)


@every_kind
def test_bomb_is_not_inflated_beyond_the_bound(compress, flags) -> None:  # type: ignore[no-untyped-def]
    bomb = compress(b"\0" * 50_000_000)
    with pytest.raises(RemoteProtocolError, match="more than"):
        decompress(bomb, flags, size_max=100_000)


@every_kind
def test_cut_stream_is_an_error(compress, flags) -> None:  # type: ignore[no-untyped-def]
    data = compress(bytes(range(256)) * 100)
    for cut in (len(data) // 2, len(data) - 1):
        with pytest.raises(RemoteProtocolError):
            decompress(data[:cut], flags, size_max=1 << 20)


@every_kind
@given(junk=st.binary(max_size=200))
def test_junk_is_a_body_or_a_protocol_error(compress, flags, junk: bytes) -> None:  # type: ignore[no-untyped-def]
    with contextlib.suppress(RemoteProtocolError):
        decompress(junk, flags, size_max=1000)


def test_our_own_compression_is_zlib() -> None:
    assert zlib.decompress(compress_zlib(b"body" * 100)) == b"body" * 100
