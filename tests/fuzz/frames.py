"""Any stream of bytes gives frames and commands or a declared error, the same ones however it is cut; commands read back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from gantry.errors import LocalProtocolError, RemoteProtocolError
from gantry.protocol.remoting import FrameDecoder, RemotingCommand, decode_frame, encode_command
from tests.golden import FRAME_SETS, frame_bytes, frame_index

SEEDS_MAX = 300


def seeds() -> Iterable[bytes]:
    """Recorded frames; the first byte says where the stream is cut."""
    for name in FRAME_SETS:
        for number, line in enumerate(frame_index(name)[:SEEDS_MAX]):
            yield bytes((number % 256,)) + frame_bytes(name, line)


def parts(command: RemotingCommand) -> tuple[object, ...]:
    return tuple(getattr(command, name) for name in RemotingCommand.__slots__)


def read(*pieces: bytes) -> Iterator[object]:
    """Commands in the order they came, and the error that ended them."""
    decoder = FrameDecoder()
    try:
        for piece in pieces:
            decoder.receive_data(piece)
            while (frame := decoder.next_frame()) is not None:
                yield parts(decode_frame(frame))
    except RemoteProtocolError as error:
        yield str(error)


def check(data: bytes) -> None:
    cut, stream = data[0] if data else 0, data[1:]
    whole = list(read(stream))
    assert list(read(stream[:cut], stream[cut:])) == whole
    decoder = FrameDecoder()
    decoder.receive_data(stream)
    with contextlib.suppress(RemoteProtocolError, LocalProtocolError):
        while (frame := decoder.next_frame()) is not None:
            command = decode_frame(frame)
            assert list(read(encode_command(command))) == [parts(command)]
