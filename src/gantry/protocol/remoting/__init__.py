"""The remoting protocol: frames, commands, codes. Headers are in `header`, bodies in `body`."""

from gantry.protocol.remoting.codes import CURRENT_VERSION, LanguageCode, RequestCode, ResponseCode
from gantry.protocol.remoting.command import RemotingCommand, decode_frame, encode_command
from gantry.protocol.remoting.frame import FRAME_BYTES_MAX, Frame, FrameDecoder

__all__ = [
    "CURRENT_VERSION",
    "FRAME_BYTES_MAX",
    "Frame",
    "FrameDecoder",
    "LanguageCode",
    "RemotingCommand",
    "RequestCode",
    "ResponseCode",
    "decode_frame",
    "encode_command",
]
