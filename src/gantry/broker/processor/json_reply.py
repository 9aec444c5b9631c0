"""Answers with a JSON body, in the official dialect."""

from __future__ import annotations

from typing import Any

from gantry.protocol import json_dialect
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header import Header


def json_reply(request: RemotingCommand, value: Any, header: Header | None = None) -> RemotingCommand:
    """Success, with `value` (a body struct, dict or list) as the body."""
    return request.reply(header=header, body=json_dialect.encode(value))
