"""The name server's key-value table: namespace -> key -> value, kept in one JSON file.

Its one user in practice is the order configuration of topics (namespace ORDER_TOPIC_CONFIG).
"""

from __future__ import annotations

import asyncio
import logging
import os

from gantry.errors import RemoteProtocolError
from gantry.protocol import json_dialect
from gantry.runtime.disk import Disk
from gantry.runtime.replace import load_file

log = logging.getLogger(__name__)

NAMESPACE_ORDER_TOPIC_CONFIG = "ORDER_TOPIC_CONFIG"

Table = dict[str, dict[str, str]]


class KVConfigManager:
    """The table and its file, `{"configTable":{namespace:{key:value}}}`.

    put() and delete() return when the change is on the disk, and change nothing when that fails; readers see a change
    only then. Changes are written one after the other.
    Source: KVConfigManager (5.3), which answers success even when the file could not be written.
    """

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._table: Table = {}
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Reads the file, or its copy when the file does not parse; none is an empty table.

        Raises: ValueError when files exist but none parses; DiskError.
        """
        loaded = await self._disk.run(load_file, self._disk, self._path, _parse)
        if loaded is not None:
            self._table = loaded
            log.info("load KV config table OK, %d namespaces", len(loaded))

    def get(self, namespace: str, key: str) -> str | None:
        return self._table.get(namespace, {}).get(key)

    def list_by_namespace(self, namespace: str) -> dict[str, str] | None:
        """All pairs of a namespace; None when it was never written to."""
        return self._table.get(namespace)

    async def put(self, namespace: str, key: str, value: str) -> None:
        """Raises: DiskError; then the table is as before."""
        async with self._writing:
            pairs = {**self._table.get(namespace, {}), key: value}
            await self._replace({**self._table, namespace: pairs})
        log.info("putKVConfig, Namespace: %s Key: %s Value: %s", namespace, key, value)

    async def delete(self, namespace: str, key: str) -> None:
        """Removes a pair; an absent one is fine. The namespace stays. Raises: DiskError; the table is as before."""
        async with self._writing:
            if key not in self._table.get(namespace, {}):
                return
            pairs = {name: value for name, value in self._table[namespace].items() if name != key}
            await self._replace({**self._table, namespace: pairs})
        log.info("deleteKVConfig, Namespace: %s Key: %s", namespace, key)

    async def _replace(self, table: Table) -> None:
        # The new table is built beside the old one, and shown only when it is safe: a reader never sees a value that
        # a failed write takes back.
        data = json_dialect.encode({"configTable": table})
        await self._disk.run(self._write, data)
        self._table = table

    def _write(self, data: bytes) -> None:
        self._disk.make_dirs(os.path.dirname(self._path) or ".")
        self._disk.replace_file(self._path, data)

    def log_all(self) -> None:
        """The table, for the log (every ten minutes)."""
        log.info("configTable SIZE: %d", len(self._table))
        for namespace, pairs in self._table.items():
            for key, value in pairs.items():
                log.info("configTable NS: %s Key: %s Value: %s", namespace, key, value)


def _parse(data: bytes) -> Table:
    try:
        members = json_dialect.decode_as(data, dict[str, Table])
    except RemoteProtocolError as error:
        raise ValueError(str(error)) from error
    return members.get("configTable", {})
