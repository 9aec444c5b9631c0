"""One client's connection as the broker's tables know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from gantry.protocol.remoting import RemotingCommand


class ClientChannel(Protocol):
    """What the tables need of a connection; `gantry.runtime.remoting_server.Channel` is one.

    Two objects are the same connection when their `id` is the same; addresses may be taken again by a later client.
    """

    @property
    def id(self) -> int: ...

    @property
    def remote_address(self) -> str: ...

    @property
    def closed(self) -> bool: ...

    @property
    def write_paused(self) -> bool: ...

    def send(self, command: RemotingCommand) -> None: ...

    def invoke_oneway(self, command: RemotingCommand) -> None: ...

    async def invoke(self, command: RemotingCommand, timeout_ms: int) -> RemotingCommand: ...

    def close(self, reason: str) -> None: ...


class ClientChannelInfo(msgspec.Struct):
    """A client on a connection: who it says it is, and when it was last heard.

    Units: last_update_monotonic_ms on the monotonic clock (expiry is decided by it, so that a jump of the wall clock
           expels nobody); last_update_timestamp in ms since 1970 (shown to operators only).
    """

    channel: ClientChannel
    client_id: str
    language: str
    version: int
    last_update_monotonic_ms: int
    last_update_timestamp: int

    def touch(self, heard: ClientChannelInfo) -> None:
        """Takes over the times of the heartbeat that `heard` was made from."""
        self.last_update_timestamp = heard.last_update_timestamp
        self.last_update_monotonic_ms = heard.last_update_monotonic_ms

    def expired(self, *, monotonic_ms: int, expired_after_ms: int) -> bool:
        return monotonic_ms - self.last_update_monotonic_ms > expired_after_ms
