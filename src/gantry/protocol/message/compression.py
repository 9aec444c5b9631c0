"""Bodies that producers compressed: the four kinds of sysFlag, inflated within a bound.

Brokers store compressed bodies untouched; only clients look inside.
Shape:  ZLIB is RFC 1950, LZ4 the LZ4 frame format, ZSTD a zstd frame; records of old clients carry no kind and are ZLIB.
Source: CompressionType, CompressorFactory (5.3).
"""

from __future__ import annotations

import zlib

from gantry.errors import RemoteProtocolError
from gantry.model import sys_flag


def compress_zlib(body: bytes, level: int = 5) -> bytes:
    return zlib.compress(body, level)


def decompress(body: bytes, flags: int, *, size_max: int) -> bytes:
    """The body as its producer handed it in; `flags` is the record's sysFlag.

    Units:  size_max in bytes after decompression; never is more than that inflated.
    Raises: RemoteProtocolError when the bytes are not of the kind the flags name, are cut short, or exceed size_max.
    """
    kind = sys_flag.compression_type(flags)
    if kind == sys_flag.COMPRESSION_LZ4:
        return _lz4(body, size_max)
    if kind == sys_flag.COMPRESSION_ZSTD:
        return _zstd(body, size_max)
    return _zlib(body, size_max)


def _zlib(body: bytes, size_max: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(body, size_max + 1)
    except zlib.error as error:
        raise RemoteProtocolError(f"compressed body of {len(body)} bytes is not ZLIB: {error}") from None
    return _checked("ZLIB", data, whole=inflater.eof, size_max=size_max)


def _lz4(body: bytes, size_max: int) -> bytes:
    import lz4.frame  # loaded by the first such message: most clients never see one

    inflater = lz4.frame.LZ4FrameDecompressor()
    try:
        data = inflater.decompress(body, max_length=size_max + 1)
    except RuntimeError as error:
        raise RemoteProtocolError(f"compressed body of {len(body)} bytes is not LZ4: {error}") from None
    return _checked("LZ4", data, whole=inflater.eof, size_max=size_max)


def _zstd(body: bytes, size_max: int) -> bytes:
    import zstandard

    try:
        announced = zstandard.get_frame_parameters(body).content_size
        with zstandard.ZstdDecompressor().stream_reader(body) as reader:
            data = reader.read(size_max + 1)
        # The stream reader takes a cut frame for a short one; the announced size tells, where the producer wrote it.
        whole = announced in (zstandard.CONTENTSIZE_UNKNOWN, len(data))
    except zstandard.ZstdError as error:
        raise RemoteProtocolError(f"compressed body of {len(body)} bytes is not ZSTD: {error}") from None
    return _checked("ZSTD", data, whole=whole, size_max=size_max)


def _checked(kind: str, data: bytes, *, whole: bool, size_max: int) -> bytes:
    if len(data) > size_max:
        raise RemoteProtocolError(f"{kind} body inflates to more than {size_max} bytes")
    if not whole:
        raise RemoteProtocolError(f"{kind} body ends after {len(data)} bytes in the middle of its stream")
    return data
