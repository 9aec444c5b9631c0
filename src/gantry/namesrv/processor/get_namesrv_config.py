"""GET_NAMESRV_CONFIG: all settings, as a properties text."""

from __future__ import annotations

from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.properties import format_properties
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class GetNamesrvConfigProcessor:
    """Secrets are masked, whoever asks."""

    def __init__(self, names: NamesrvContext) -> None:
        self._config = names.config

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        return request.reply(body=format_properties(self._config.to_properties(mask_secrets=True)).encode())
