"""Changes of the broker's settings while it runs: an allow list, all or none, kept for the next start."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, ConfigError
from gantry.model import DataVersion
from gantry.protocol.remoting.codes import ResponseCode
from gantry.runtime.properties import decode_properties, format_properties, parse_properties

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.runtime.disk import Disk

    from .config import BrokerConfig

log = logging.getLogger(__name__)

MARKER = "# Changed while the broker ran; these lines count over those above."


class ConfigUpdates:
    """Applies what an operator asks for and writes it into the file the broker was started with.

    Only keys declared reloadable may change: no request reaches a path, a port, a class name or the list itself.
    A key that is on no list is refused too, so that a misspelt one is not answered with success.
    The operator's lines and comments stay; changes stand in a block at the end of the file.
    Source: Configuration.update (5.3), which takes any key that is not on a deny list.
    """

    def __init__(self, config: BrokerConfig, disk: Disk, clock: Clock) -> None:
        self._config = config
        self._disk = disk
        self._clock = clock
        self.data_version = DataVersion(timestamp=clock.now_ms())

    async def apply(self, pairs: Mapping[str, str]) -> None:
        """Sets the keys; they are in the file when this returns.

        Raises: BrokerError 16 for a key that may not change, 29 for a value out of bounds; StoreError when the file
        cannot be written. Nothing is changed then.
        """
        keys = type(self._config).keys()
        for name, text in pairs.items():
            declared = keys.get(name)
            if declared is None or not declared.reloadable:
                raise BrokerError(
                    ResponseCode.NO_PERMISSION,
                    f"Can not update config in black list. The key {_shown(name)} cannot be changed while the broker runs.",
                )
            try:
                declared.parse(text)
            except ConfigError as error:
                raise BrokerError(ResponseCode.INVALID_PARAMETER, str(error)) from None
        if not pairs:
            return
        if self._config.broker_config_path:
            await self._disk.run(self._write, dict(pairs))
        self._config.update_all(pairs)
        self.data_version.next_version(self._clock.now_ms())
        log.info("configuration changed: %s", ", ".join(f"{name}={text.strip()}" for name, text in pairs.items()))

    def _write(self, pairs: dict[str, str]) -> None:
        path = self._config.broker_config_path
        text = decode_properties(self._disk.read_file(path)) if self._disk.exists(path) else ""
        above, found, below = text.partition(MARKER)
        changed = parse_properties(below) if found else {}
        changed.update(pairs)
        if above and not above.endswith("\n"):
            above += "\n"
        content = f"{above}{MARKER}\n{format_properties(changed)}"
        self._disk.replace_file(path, content.encode(), keep_backup=True)


def _shown(name: str) -> str:
    return repr(name[:64])
