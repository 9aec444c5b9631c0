"""RemotingCommand: one request or one response, whatever serialization its header travels in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import LocalProtocolError
from gantry.protocol.remoting import json_header, rocketmq_header
from gantry.protocol.remoting.codes import CURRENT_VERSION, LanguageCode
from gantry.protocol.remoting.frame import FRAME_BYTES_MAX, PREFIX_BYTES, Frame

if TYPE_CHECKING:
    from gantry.protocol.remoting.header.base import Header

SERIALIZE_JSON = 0
SERIALIZE_ROCKETMQ = 1

FLAG_RESPONSE = 1
FLAG_ONEWAY = 2


class RemotingCommand:
    """One request or response.

    `ext_fields` is text to text; None when the command carries none (a response to a send must carry some, or the
    Java client fails). `serialize_type` is the kind the command arrived in or shall leave in.
    Source: RemotingCommand (5.3).
    """

    __slots__ = ("body", "code", "ext_fields", "flag", "language", "opaque", "remark", "serialize_type", "version")

    def __init__(
        self,
        code: int,
        *,
        language: int = LanguageCode.PYTHON,
        version: int = CURRENT_VERSION,
        opaque: int = 0,
        flag: int = 0,
        remark: str | None = None,
        ext_fields: dict[str, str] | None = None,
        body: bytes = b"",
        serialize_type: int = SERIALIZE_JSON,
    ) -> None:
        self.code = code
        self.language = language
        self.version = version
        self.opaque = opaque
        self.flag = flag
        self.remark = remark
        self.ext_fields = ext_fields
        self.body = body
        self.serialize_type = serialize_type

    @classmethod
    def request(cls, header: Header | int, body: bytes = b"") -> RemotingCommand:
        """A request from its header (which knows its code), or from a bare code when there is no header."""
        if isinstance(header, int):
            return cls(header, body=body)
        code = header.CODE
        if code is None:
            raise LocalProtocolError(f"{type(header).__name__} is not the header of a request")
        return cls(code, ext_fields=header.encode(), body=body)

    def reply(
        self, code: int = 0, remark: str | None = None, header: Header | None = None, body: bytes = b""
    ) -> RemotingCommand:
        """The answer to this request: same opaque, same serialization."""
        return RemotingCommand(
            code,
            opaque=self.opaque,
            flag=FLAG_RESPONSE,
            remark=remark,
            ext_fields=None if header is None else header.encode(),
            body=body,
            serialize_type=self.serialize_type,
        )

    @property
    def is_response(self) -> bool:
        return bool(self.flag & FLAG_RESPONSE)

    @property
    def is_oneway(self) -> bool:
        return bool(self.flag & FLAG_ONEWAY)

    def mark_oneway(self) -> None:
        self.flag |= FLAG_ONEWAY

    def field(self, name: str) -> str | None:
        """One extension field, None when absent."""
        return self.ext_fields.get(name) if self.ext_fields else None

    def __repr__(self) -> str:
        kind = "response" if self.is_response else "oneway" if self.is_oneway else "request"
        return (
            f"<{kind} code={self.code} opaque={self.opaque} remark={self.remark!r} "
            f"ext_fields={self.ext_fields} body={len(self.body)} bytes>"
        )


def decode_frame(frame: Frame) -> RemotingCommand:
    """Reads a frame's header.

    Raises: RemoteProtocolError, whatever the bytes are; nothing else.
    """
    codec = json_header if frame.serialize_type == SERIALIZE_JSON else rocketmq_header
    code, language, version, opaque, flag, remark, ext_fields = codec.decode(frame.header)
    return RemotingCommand(
        code,
        language=language,
        version=version,
        opaque=opaque,
        flag=flag,
        remark=remark,
        ext_fields=ext_fields,
        body=frame.body,
        serialize_type=frame.serialize_type,
    )


def encode_command(command: RemotingCommand, frame_bytes_max: int = FRAME_BYTES_MAX) -> bytes:
    """The whole frame, length field included.

    Raises: LocalProtocolError when a field does not fit its width or the frame exceeds `frame_bytes_max`.
    """
    codec = json_header if command.serialize_type == SERIALIZE_JSON else rocketmq_header
    header = codec.encode(
        command.code,
        command.language,
        command.version,
        command.opaque,
        command.flag,
        command.remark,
        command.ext_fields,
    )
    body = command.body
    size = PREFIX_BYTES + len(header) + len(body)
    if size > frame_bytes_max:
        raise LocalProtocolError(
            f"frame of {size} bytes exceeds the limit of {frame_bytes_max} bytes; the peer would close the connection"
        )
    word = (command.serialize_type << 24) | len(header)
    return b"".join(((size - 4).to_bytes(4, "big"), word.to_bytes(4, "big"), header, body))
