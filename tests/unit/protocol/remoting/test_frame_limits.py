"""Frames that must not be: each ends in a declared error, from as few bytes as possible."""

from __future__ import annotations

import struct

import pytest

from gantry.errors import FrameTooLarge, RemoteProtocolError
from gantry.protocol.remoting import Frame, FrameDecoder, RemotingCommand, decode_frame, encode_command
from gantry.protocol.remoting.frame import FRAME_BYTES_MAX


def feed(data: bytes) -> Frame | None:
    decoder = FrameDecoder()
    decoder.receive_data(data)
    return decoder.next_frame()


@pytest.mark.parametrize("length", [FRAME_BYTES_MAX - 3, 2**31 - 1, 0x47455420])
def test_a_frame_over_the_limit_is_refused_from_its_length_alone(length: int) -> None:
    with pytest.raises(FrameTooLarge):
        feed(struct.pack(">i", length))


def test_the_largest_frame_is_accepted() -> None:
    header = b'{"code":1}'
    total = FRAME_BYTES_MAX - 4
    decoder = FrameDecoder()
    decoder.receive_data(struct.pack(">iI", total, len(header)) + header)
    assert decoder.next_frame() is None
    decoder.receive_data(bytes(total - 4 - len(header)))
    frame = decoder.next_frame()
    assert frame is not None
    assert len(frame.body) == total - 4 - len(header)


@pytest.mark.parametrize("length", [0, 3, -1, -(2**31)])
def test_a_length_below_the_smallest_frame_is_refused(length: int) -> None:
    with pytest.raises(RemoteProtocolError):
        feed(struct.pack(">i", length))


def test_a_header_longer_than_its_frame_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="does not fit"):
        feed(struct.pack(">iI", 10, 7))


def test_an_unknown_serialization_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="neither JSON"):
        feed(struct.pack(">iI", 4, 7 << 24))


def test_a_header_over_its_own_limit_is_refused_before_it_arrived() -> None:
    with pytest.raises(RemoteProtocolError, match="limit"):
        feed(struct.pack(">iI", 1_000_000, 300_000))


BAD_JSON = [
    b"",
    b"[]",
    b"1",
    b"{",
    b'{"code":"x"}',
    b'{"code":1,"opaque":99999999999}',
    b'{"code":1,"opaque":' + b"9" * 5000 + b"}",
    b'{"code":NaN}',
    b'{"code":1,"extFields":[1]}',
    b'{"code":1,"extFields":{' + b",".join(b'"%d":"x"' % n for n in range(1100)) + b"}}",
    b'{"code":1,"extFields":{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}}",
    b'{"code":1,"extFields":{"a":' + b"[" * 20 + b"]" * 20 + b"}}",
    b"\xff\xfe",
]


@pytest.mark.parametrize("header", BAD_JSON, ids=range(len(BAD_JSON)))
def test_bad_json_headers_are_declared_errors(header: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_frame(Frame(0, header, b""))


def test_json_values_of_lenient_clients_become_text() -> None:
    header = b'{"code":11,"language":"COBOL","extFields":{"a":1,"b":true,"c":null,"d":"x","e":2.5},"unknown":{}}'
    command = decode_frame(Frame(0, header, b""))
    assert command.ext_fields == {"a": "1", "b": "true", "d": "x", "e": "2.5"}
    assert command.language == 7
    assert command.version == 0
    assert decode_frame(Frame(0, b'{"code":1,"language":3}', b"")).language == 7


GOOD_BINARY = struct.pack(">hbhiii", 10, 0, 513, 1, 0, 0) + struct.pack(">i", 0)
BAD_BINARY = [
    b"",
    GOOD_BINARY[:20],
    struct.pack(">hbhiii", 10, 0, 513, 1, 0, -1) + struct.pack(">i", 0),
    struct.pack(">hbhiii", 10, 0, 513, 1, 0, 2**31 - 1) + struct.pack(">i", 0),
    struct.pack(">hbhiii", 10, 0, 513, 1, 0, 0) + struct.pack(">i", 5),
    struct.pack(">hbhiii", 10, 0, 513, 1, 0, 0) + struct.pack(">i", -5),
    struct.pack(">hbhiii", 10, 0, 513, 1, 0, 0) + struct.pack(">i", 1) + b"a",
    struct.pack(">hbhiii", 10, 0, 513, 1, 0, 0) + struct.pack(">ih", 6, -1) + b"aaaa",
    struct.pack(">hbhiii", 10, 0, 513, 1, 0, 0) + struct.pack(">ihi", 6, 0, -1),
    struct.pack(">hbhiii", 10, 0, 513, 1, 0, 0) + struct.pack(">ihi", 7, 0, 1) + b"\xff",
    struct.pack(">hbhiii", 10, 0, 513, 1, 0, 1) + b"\xff" + struct.pack(">i", 0),
]


@pytest.mark.parametrize("header", BAD_BINARY, ids=range(len(BAD_BINARY)))
def test_bad_binary_headers_are_declared_errors(header: bytes) -> None:
    assert decode_frame(Frame(1, GOOD_BINARY, b"")).code == 10
    with pytest.raises(RemoteProtocolError):
        decode_frame(Frame(1, header, b""))


def test_an_answer_comes_in_the_kind_of_its_request() -> None:
    for kind in (0, 1):
        request = RemotingCommand(10, opaque=7, serialize_type=kind)
        answer = encode_command(request.reply(0))
        assert answer[4] == kind
        frame = feed(answer)
        assert frame is not None
        assert decode_frame(frame).opaque == 7
