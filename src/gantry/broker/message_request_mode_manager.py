"""How groups fetch from topics, PULL or POP, where an operator has said so."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from gantry.errors import ProtocolError, StoreDamaged
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.message_request_mode import MessageRequestModeBody

from .config_file import ConfigFile

if TYPE_CHECKING:
    from gantry.runtime.disk import Disk


class MessageRequestModeManager:
    """topic -> group -> mode; `messageRequestMode.json` behind it. Source: MessageRequestModeManager (5.3)."""

    def __init__(self, disk: Disk, *, directory: str, checksum_dir: str | None = None) -> None:
        self.table: dict[str, dict[str, MessageRequestModeBody]] = {}
        self.file = ConfigFile(
            disk, posixpath.join(directory, "messageRequestMode.json"), self.to_json_value, checksum_dir=checksum_dir
        )

    def find(self, topic: str, group: str) -> MessageRequestModeBody | None:
        return self.table.get(topic, {}).get(group)

    def set(self, mode: MessageRequestModeBody) -> None:
        """Remembers a mode; the file follows in the background."""
        self.table.setdefault(mode.topic, {})[mode.consumer_group] = mode
        self.file.changed()

    def to_json_value(self) -> dict[str, Any]:
        """The table as `messageRequestMode.json` has it."""
        return {"messageRequestModeMap": self.table}

    def load(self) -> None:
        """Reads the file. Raises: StoreDamaged."""
        value = self.file.load()
        if value is None:
            return
        try:
            table = value.get("messageRequestModeMap") or {}
            self.table = json_dialect.convert(table, dict[str, dict[str, MessageRequestModeBody]])
        except (ProtocolError, ValueError, AttributeError) as error:
            raise StoreDamaged(f"{self.file.path} has no table of request modes: {error}") from None
