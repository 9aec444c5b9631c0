"""What the client room asks of the remoting client: two calls, so that a test's fake is two functions."""

from __future__ import annotations

from typing import Protocol

from gantry.errors import BrokerError
from gantry.protocol.remoting import RemotingCommand, ResponseCode


class Remoting(Protocol):
    """Satisfied by gantry.runtime's RemotingClient. Addresses are `ip:port`, times ms."""

    async def invoke(self, address: str, command: RemotingCommand, timeout_ms: float) -> RemotingCommand:
        """The peer's answer, whatever its code. Raises: RemotingError."""

    async def invoke_oneway(self, address: str, command: RemotingCommand) -> None:
        """Returns when the request is handed to the connection; nothing tells whether it was done."""


async def ask(remoting: Remoting, address: str, command: RemotingCommand, timeout_ms: int) -> RemotingCommand:
    """Invoke and insist on SUCCESS. Raises: BrokerError with code, remark and address; RemotingError."""
    response = await remoting.invoke(address, command, timeout_ms)
    if response.code != ResponseCode.SUCCESS:
        raise BrokerError(response.code, response.remark or "", address=address)
    return response
