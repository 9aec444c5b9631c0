"""UPDATE_NAMESRV_CONFIG: change settings while the name server runs."""

from __future__ import annotations

import asyncio
import logging
import os

from gantry.errors import BrokerError, ConfigError, DiskError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.properties import format_properties, parse_request
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext

log = logging.getLogger(__name__)


class UpdateNamesrvConfigProcessor:
    """All keys of the body or none; what is changed is saved to configStorePath first.

    Only reloadable keys may be changed: an allow list, because a list of what is forbidden once left a path out and let
    any caller write files. Anything else, unknown keys included, is answered 16. No key on the list is a path.
    """

    def __init__(self, names: NamesrvContext) -> None:
        self._config = names.config
        self._disk = names.disk
        self._changing = asyncio.Lock()

    async def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        log.info("updateConfig called by %s", ctx.channel.remote_address)
        try:
            wanted = parse_request(request.body)
            changes = self._check(wanted)
        except ConfigError as error:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"string2Properties error: {error}") from error
        if changes:
            # One after the other, or the file of the second would lack what the first is about to change.
            async with self._changing:
                try:
                    await self._save(changes)
                except DiskError as error:
                    raise BrokerError(ResponseCode.SYSTEM_ERROR, f"nothing changed, saving failed: {error}") from error
                self._config.update_all(changes)
            log.info("settings changed by %s: %s", ctx.channel.remote_address, changes)
        return request.reply()

    def _check(self, wanted: dict[str, str]) -> dict[str, str]:
        """The changes in their canonical text. Raises: BrokerError 16; ConfigError for a value out of bounds."""
        keys = self._config.keys()
        black_list = set(self._config.config_black_list.split(";"))
        refused = sorted(name for name in wanted if name in black_list or name not in keys or not keys[name].reloadable)
        if refused:
            raise BrokerError(
                ResponseCode.NO_PERMISSION,
                f"Can not update config in black list. Not changeable at run time: {', '.join(refused)[:512]}",
            )
        return {name: keys[name].format(keys[name].parse(text)) for name, text in wanted.items()}

    async def _save(self, changes: dict[str, str]) -> None:
        text = format_properties({**self._config.to_properties(), **changes})
        await self._disk.run(self._write, self._config.config_store_path, text.encode())

    def _write(self, path: str, data: bytes) -> None:
        self._disk.make_dirs(os.path.dirname(path) or ".")
        self._disk.replace_file(path, data)
