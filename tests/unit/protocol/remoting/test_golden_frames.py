"""Every frame recorded from official peers decodes to what its index says and encodes back."""

from __future__ import annotations

import json

import pytest

from gantry.protocol.remoting import Frame, FrameDecoder, LanguageCode, decode_frame, encode_command
from tests.golden import FRAME_SETS, frame_bytes, frame_index


def cut_one(data: bytes) -> Frame:
    decoder = FrameDecoder()
    decoder.receive_data(data)
    frame = decoder.next_frame()
    assert frame is not None
    assert decoder.next_frame() is None
    assert decoder.buffered_bytes == 0
    return frame


@pytest.mark.parametrize("name", FRAME_SETS)
def test_every_recorded_frame_decodes_to_its_index_line(name: str) -> None:
    lines = frame_index(name)
    assert len(lines) > 100
    for line in lines:
        frame = cut_one(frame_bytes(name, line))
        command = decode_frame(frame)
        where = f"{name}/{line['file']}"
        assert command.code == line["code"], where
        assert command.opaque == line["opaque"], where
        assert command.flag == line["flag"], where
        assert command.version == line["version"], where
        language = line["language"]
        assert command.language == (LanguageCode[language] if isinstance(language, str) else language), where
        assert command.remark == line.get("remark"), where
        assert (command.ext_fields or {}) == (line.get("extFields") or {}), where
        assert len(frame.header) == line["headerLength"], where
        assert len(command.body) == line["bodyLength"], where
        assert command.is_response == (line["kind"] == "res"), where
        assert command.is_oneway == (line["kind"] == "oneway"), where


@pytest.mark.parametrize("name", FRAME_SETS)
def test_every_recorded_frame_encodes_back(name: str) -> None:
    for line in frame_index(name):
        data = frame_bytes(name, line)
        frame = cut_one(data)
        again = encode_command(decode_frame(frame))
        if frame.serialize_type == 1:
            assert again == data, f"{name}/{line['file']}"
        else:
            # Members of a JSON object have no order; everything else is compared as it stands.
            other = cut_one(again)
            assert json.loads(other.header) == json.loads(frame.header), f"{name}/{line['file']}"
            assert other.body == frame.body


@pytest.mark.parametrize("name", FRAME_SETS)
def test_a_whole_recording_decodes_from_a_stream_in_any_pieces(name: str) -> None:
    lines = frame_index(name)
    stream = b"".join(frame_bytes(name, line) for line in lines)
    for step in (1, 7, 1460, 65536):
        decoder = FrameDecoder()
        opaques = []
        for at in range(0, len(stream), step):
            decoder.receive_data(stream[at : at + step])
            while (frame := decoder.next_frame()) is not None:
                opaques.append(decode_frame(frame).opaque)
        assert opaques == [line["opaque"] for line in lines]
