"""What a row of the request table says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import RemotingCommand

from ..context import NamesrvContext

Processor = Callable[[Any, RemotingCommand, Any], RemotingCommand | Awaitable[RemotingCommand]]


class Row(NamedTuple):
    """One request the name server answers; `header` is None when it has none."""

    code: RequestCode
    header: type[Any] | None
    processor: Callable[[NamesrvContext], Processor]
