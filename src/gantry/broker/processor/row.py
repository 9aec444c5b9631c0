"""What a row of the request tables says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.remoting_server import Answer

from ..context import BrokerContext

Processor = Callable[[Any, RemotingCommand, Any], Answer | Awaitable[Answer]]


class Row(NamedTuple):
    """One request the broker answers.

    `header` is its header class, or None when it has none. `fast_port` says whether the port listenPort - 2 offers it
    too: there everything is, except the pull family. Source: BrokerController.registerProcessor (5.3).
    """

    code: RequestCode
    header: type[Any] | None
    processor: Callable[[BrokerContext], Processor]
    fast_port: bool = True
