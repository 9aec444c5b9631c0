"""The exception tree of the whole package.

Every error is a sentence with place, numbers and consequence; fields a caller may want to act on are attributes.
Low-level exceptions are mapped to these at the door they pass (`gantry.runtime`).
"""

from __future__ import annotations


class MQError(Exception):
    """Root of every error that Gantry raises on purpose."""


class ConfigError(MQError):
    """A setting is missing, unreadable or out of bounds; the process does not start with it."""


class ProtocolError(MQError):
    """Bytes or values that the protocol does not allow."""


class LocalProtocolError(ProtocolError):
    """We were about to send something that the peer could not accept; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol does not allow; its connection is closed."""


class FrameTooLarge(RemoteProtocolError):
    """A frame announces more bytes than the limit; raised from the length alone.

    Units: bytes, the length field included.
    """

    def __init__(self, *, size: int, limit: int) -> None:
        super().__init__(f"frame of {size} bytes exceeds the limit of {limit} bytes; the connection is closed")
        self.size = size
        self.limit = limit


class HeaderFieldError(RemoteProtocolError):
    """One field of a request header is missing or has a value that its type does not allow."""

    def __init__(self, *, field: str, value: str | None, reason: str) -> None:
        shown = "is missing" if value is None else f"is {value[:64]!r}"
        super().__init__(f"header field {field} {shown}: {reason}")
        self.field = field
        self.value = value
        self.reason = reason


class FilterExpressionError(ProtocolError):
    """A SQL92 filter expression that cannot be used.

    `position` counts characters from 0, `found` is the text that stands there ("" at the end), `reason` what was expected or
    is not allowed.
    """

    def __init__(self, *, position: int, found: str, reason: str) -> None:
        shown = repr(found[:64]) if found else "the end"
        super().__init__(f"SQL92 expression, character {position + 1}, at {shown}: {reason}")
        self.position = position
        self.found = found
        self.reason = reason


class StoreError(MQError):
    """The message store could not do what was asked."""


class StoreLocked(StoreError):
    """Another process holds the store directory."""


class StoreDamaged(StoreError):
    """Bytes below the synced offset are not what was written; the store does not start by itself."""


class StoreReadOnly(StoreError):
    """Writing has ended for this process (a sync failed or the disk is full); reads go on."""


class RecordCorrupt(StoreError):
    """A record of the commit log does not check out.

    Units: physical_offset in bytes since the start of the log.
    """

    def __init__(self, *, path: str, physical_offset: int, reason: str) -> None:
        super().__init__(f"record at physical offset {physical_offset} in {path}: {reason}")
        self.path = path
        self.physical_offset = physical_offset
        self.reason = reason


class MessageIllegal(StoreError):
    """A message that the store refuses as a whole; nothing of it was appended."""

    def __init__(self, remark: str, *, properties_too_long: bool = False) -> None:
        super().__init__(remark)
        self.remark = remark
        self.properties_too_long = properties_too_long


class DiskError(StoreError):
    """An operation on a file failed.

    `op` is the operation's short name (pwrite, sync, rename ...), `errno` the system's number or 0.
    """

    def __init__(self, *, path: str, op: str, errno: int = 0, reason: str = "") -> None:
        super().__init__(f"{op} of {path} failed: {reason or 'unknown reason'} (errno {errno})")
        self.path = path
        self.op = op
        self.errno = errno


class DiskFull(DiskError):
    """No space or quota left; nothing of the operation may be relied on, and it may be tried again later."""


class DiskFault(DiskError):
    """Any other failure of the disk; what the operation touched is lost."""


class RemotingError(MQError):
    """A request could not be carried to the peer, or its answer not back."""


class RemotingConnectError(RemotingError):
    """No connection to the address could be made."""


class RemotingSendError(RemotingError):
    """The request could not be handed to the connection; the peer has not seen it."""


class RemotingTimeout(RemotingError):
    """No answer within the time asked; the peer may or may not have done the request."""


class ConnectionClosed(RemotingError):
    """The connection ended before the answer; the peer may or may not have done the request."""


class ListenError(RemotingError):
    """A server could not listen on its address."""


class ClientError(MQError):
    """A producer or consumer could not do what was asked, for a reason on this side."""


class NoRoute(ClientError):
    """No name server that was asked knows a broker for the topic."""


class BrokerError(MQError):
    """The peer answered with a code other than success, or a processor answers so by raising it."""

    def __init__(self, response_code: int, remark: str, *, address: str | None = None) -> None:
        place = f" from {address}" if address else ""
        super().__init__(f"CODE: {int(response_code)}  DESC: {remark}{place}")
        self.response_code = int(response_code)
        self.remark = remark
        self.address = address
