"""One metadata file of the broker: topics, groups, offsets, delays.

The file is replaced as a whole (written aside, synced, renamed, directory synced), one older copy is kept as `.bak`.
Its checksum lies in a sidecar under `{store}/gantry/`, because a Java broker rewrites these files without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import posixpath
from collections.abc import Callable
from typing import Any

from gantry.errors import ProtocolError, StoreDamaged, StoreError
from gantry.protocol import json_dialect
from gantry.runtime.disk import Disk
from gantry.runtime.replace import load_file, make_dirs_synced

log = logging.getLogger(__name__)


class ConfigFile:
    """A JSON file that mirrors one table.

    `value` returns the table in the file's official shape. changed() writes soon, in the background, many changes in
    one go; touched() leaves it to the next save(); flush() returns when every change made before the call is on disk.
    A write that fails leaves the change pending: the next save() tries again.
    Only one write of a file is under way at a time.
    """

    def __init__(self, disk: Disk, path: str, value: Callable[[], Any], *, checksum_dir: str | None = None) -> None:
        self.path = path
        self._disk = disk
        self._value = value
        self._checksum_path = (
            None if checksum_dir is None else posixpath.join(checksum_dir, posixpath.basename(path) + ".crc32")
        )
        self.before_replace: Callable[[bytes], Callable[[], None]] | None = None
        """Told the new content before it takes the old one's place; what it returns is done off the loop, before that."""
        self._version = 0
        self._saved = 0
        self._writing: asyncio.Task[None] | None = None

    @property
    def pending(self) -> bool:
        """A change is not on disk yet."""
        return self._saved < self._version

    def load(self) -> Any | None:
        """The file's content, or its backup's when it does not parse; None when neither exists.

        Raises: StoreDamaged when files exist and none of them parses: starting with an empty table would lose it.
        """
        try:
            return load_file(self._disk, self.path, _parse, checksum_path=self._checksum_path)
        except ValueError as error:
            raise StoreDamaged(f"{error}; repair these files or move them away") from None

    def changed(self) -> None:
        """The table changed: write it soon."""
        self._version += 1
        self._start()

    def touched(self) -> None:
        """The table changed: write it at the next save()."""
        self._version += 1

    async def flush(self) -> None:
        """Every change made before this call is on disk when it returns. Raises: StoreError."""
        target = self._version
        while self._saved < target:
            await asyncio.shield(self._start())

    async def save(self) -> None:
        """As flush(), for periodic use: a failure is logged and the change stays pending."""
        with contextlib.suppress(StoreError):  # logged where it happened
            await self.flush()

    def _start(self) -> asyncio.Task[None]:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())
            self._writing.add_done_callback(_log_failure)
        return self._writing

    async def _write(self) -> None:
        # One turn of the loop later, so that a burst of changes is written once.
        await asyncio.sleep(0)
        version = self._version
        data = json_dialect.encode(self._value(), pretty=True)
        first = None if self.before_replace is None else self.before_replace(data)
        await self._disk.run(self._replace, data, first)
        self._saved = max(self._saved, version)

    def _replace(self, data: bytes, first: Callable[[], None] | None) -> None:
        if first is not None:
            first()
        make_dirs_synced(self._disk, posixpath.dirname(self.path))
        if self._checksum_path is not None:
            make_dirs_synced(self._disk, posixpath.dirname(self._checksum_path))
        self._disk.replace_file(self.path, data, keep_backup=True, checksum_path=self._checksum_path)


def _parse(data: bytes) -> Any:
    try:
        return json_dialect.decode(data)
    except ProtocolError as error:
        raise ValueError(str(error)) from None


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("metadata file not written, it is tried again with the next change or save: %s", task.exception())
