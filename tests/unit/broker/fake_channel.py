"""A connection for unit tests: remembers what was sent, answers what a test tells it to."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from gantry.errors import ConnectionClosed
from gantry.protocol.remoting.command import RemotingCommand

_ids = itertools.count(1)


@dataclass
class FakeChannel:
    """`on_invoke` gets a request and returns the answer, or raises what the connection would."""

    remote_address: str = "192.0.2.1:40000"
    id: int = field(default_factory=lambda: next(_ids))
    closed: bool = False
    write_paused: bool = False
    close_reason: str = ""
    sent: list[RemotingCommand] = field(default_factory=list)
    invoked: list[RemotingCommand] = field(default_factory=list)
    on_invoke: Callable[[RemotingCommand], RemotingCommand] | None = None

    def send(self, command: RemotingCommand) -> None:
        self.sent.append(command)

    def invoke_oneway(self, command: RemotingCommand) -> None:
        command.mark_oneway()
        self.sent.append(command)

    async def invoke(self, command: RemotingCommand, timeout_ms: float) -> RemotingCommand:
        self.invoked.append(command)
        if self.on_invoke is None:
            raise ConnectionClosed("no answer was prepared")
        return self.on_invoke(command)

    def close(self, reason: str) -> None:
        self.closed = True
        self.close_reason = reason

    def codes(self) -> list[int]:
        """Codes of what was sent, in order."""
        return [int(command.code) for command in self.sent]
