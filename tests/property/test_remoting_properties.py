"""For all commands, splits and bytes: what is written is read, and nothing but declared errors comes out."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from gantry.errors import RemoteProtocolError
from gantry.protocol import json_dialect
from gantry.protocol.remoting import Frame, FrameDecoder, RemotingCommand, decode_frame, encode_command

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
int32 = st.integers(-(2**31), 2**31 - 1)


@st.composite
def commands(draw: st.DrawFn) -> RemotingCommand:
    return RemotingCommand(
        draw(st.integers(-(2**15), 2**15 - 1)),
        language=draw(st.integers(0, 13)),
        version=draw(st.integers(0, 2**15 - 1)),
        opaque=draw(int32),
        flag=draw(int32),
        remark=draw(st.none() | text.filter(bool)),
        ext_fields=draw(st.none() | st.dictionaries(text, text, min_size=1, max_size=8)),
        body=draw(st.binary(max_size=200)),
        serialize_type=draw(st.integers(0, 1)),
    )


def parts(command: RemotingCommand) -> tuple[object, ...]:
    return tuple(getattr(command, name) for name in RemotingCommand.__slots__)


@given(st.lists(commands(), min_size=1, max_size=5), st.data())
def test_any_split_of_the_stream_gives_the_same_commands(sent: list[RemotingCommand], data: st.DataObject) -> None:
    stream = b"".join(encode_command(command) for command in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    decoder = FrameDecoder()
    got = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        decoder.receive_data(stream[begin:end])
        while (frame := decoder.next_frame()) is not None:
            got.append(decode_frame(frame))
    assert [parts(command) for command in got] == [parts(command) for command in sent]


@given(st.integers(0, 1), st.binary(max_size=300))
def test_any_header_bytes_give_a_command_or_a_declared_error(kind: int, header: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode_frame(Frame(kind, header, b""))


@given(st.binary(max_size=300))
def test_any_stream_gives_frames_or_a_declared_error(stream: bytes) -> None:
    decoder = FrameDecoder()
    decoder.receive_data(stream)
    with contextlib.suppress(RemoteProtocolError):
        while decoder.next_frame() is not None:
            pass


json_values = st.recursive(
    st.booleans() | st.integers(-(10**15), 10**15) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text | st.integers(-100, 100), inner, max_size=4),
    max_leaves=20,
)


@given(json_values, st.booleans())
def test_json_dialect_round_trips(value: object, pretty: bool) -> None:
    assert json_dialect.decode(json_dialect.encode(value, pretty=pretty)) == value


@settings(max_examples=300)
@given(st.text(alphabet="{}[]\":,0123456789-+.eE\\ truefalsn'", max_size=60))
def test_any_text_is_json_or_a_declared_error(value: str) -> None:
    with contextlib.suppress(RemoteProtocolError):
        json_dialect.decode(value.encode())
