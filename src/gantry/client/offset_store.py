"""Where a consumer group stands in each queue: kept by the broker (clustering) or in a file of ours (broadcasting).

Both remember in memory what update() told them and write it out when persist() is called: every few seconds, when a queue is
given away, and on stop. A crash in between repeats messages and never skips any.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from gantry.errors import MQError
from gantry.model import MessageQueue
from gantry.protocol import json_dialect
from gantry.runtime.disk import Disk

logger = logging.getLogger(__name__)


class OffsetStore(Protocol):
    """Offsets are queue entries: the next message to consume."""

    async def load(self) -> None: ...

    def update(self, queue: MessageQueue, offset: int, *, increase_only: bool) -> None: ...

    def in_memory(self, queue: MessageQueue) -> int | None:
        """What update() said last; None when this client has not consumed the queue yet."""

    async def read(self, queue: MessageQueue) -> int | None:
        """The kept offset; None when the group has none. Raises: MQError when it cannot be known now."""

    async def persist(self, queues: Iterable[MessageQueue]) -> None:
        """Write out these queues' offsets. Failures are logged: the next round tries again."""

    def forget(self, queue: MessageQueue) -> None: ...


class _Table:
    """The part both stores share: offsets in memory."""

    def __init__(self) -> None:
        self._offsets: dict[MessageQueue, int] = {}

    def update(self, queue: MessageQueue, offset: int, *, increase_only: bool) -> None:
        old = self._offsets.get(queue)
        if old is None or not increase_only or offset > old:
            self._offsets[queue] = offset

    def in_memory(self, queue: MessageQueue) -> int | None:
        return self._offsets.get(queue)

    def forget(self, queue: MessageQueue) -> None:
        self._offsets.pop(queue, None)


class RemoteOffsetStore(_Table):
    """Offsets kept by the broker that holds the queue. Source: RemoteBrokerOffsetStore (5.3)."""

    def __init__(
        self,
        *,
        query: Callable[[MessageQueue], Awaitable[int | None]],
        commit: Callable[[MessageQueue, int], Awaitable[None]],
    ) -> None:
        super().__init__()
        self._query = query
        self._commit = commit

    async def load(self) -> None:
        """Nothing to load: the broker is asked queue by queue."""

    async def read(self, queue: MessageQueue) -> int | None:
        offset = await self._query(queue)
        if offset is not None:
            self.update(queue, offset, increase_only=False)
        return offset

    async def persist(self, queues: Iterable[MessageQueue]) -> None:
        for queue in queues:
            offset = self._offsets.get(queue)
            if offset is None:
                continue
            try:
                await self._commit(queue, offset)
            except MQError as error:
                logger.warning("offset %d of %s is not committed yet: %s", offset, queue, error)


class MemoryOffsetStore(_Table):
    """Offsets kept nowhere: every start begins where consume_from_where says. For tools that only look."""

    async def load(self) -> None:
        """Nothing to load."""

    async def read(self, queue: MessageQueue) -> int | None:
        return self._offsets.get(queue)

    async def persist(self, queues: Iterable[MessageQueue]) -> None:
        """Nothing to write."""

    def forget(self, queue: MessageQueue) -> None:
        """Keeps the offset: a queue that comes back goes on where it was."""


class LocalOffsetStore(_Table):
    """Offsets kept in one JSON file of this client, for broadcasting groups.

    Shape:  {"offsetTable":{{"brokerName":..,"queueId":..,"topic":..}:offset}}, the previous file beside it as .bak.
    Source: LocalFileOffsetStore (5.3).
    """

    def __init__(self, *, disk: Disk, path: str) -> None:
        super().__init__()
        self._disk = disk
        self._path = path

    async def load(self) -> None:
        """Read the file, or its backup when it is missing or cannot be parsed. No file means no offsets."""
        for path in (self._path, self._path + ".bak"):
            if not self._disk.exists(path):
                continue
            data = await self._disk.run(self._disk.read_file, path)
            try:
                rows = json_dialect.decode(data)["offsetTable"].items()
                pairs = ((json_dialect.message_queue_key(key), int(offset)) for key, offset in rows)
                self._offsets = {queue: offset for queue, offset in pairs if queue is not None}
                return
            except (MQError, KeyError, TypeError, ValueError, AttributeError) as error:
                logger.warning("offset file %s cannot be read (%s); trying its backup", path, error)

    async def read(self, queue: MessageQueue) -> int | None:
        return self._offsets.get(queue)

    def forget(self, queue: MessageQueue) -> None:
        """Keeps the offset: in broadcasting a queue that left the route may come back, and nobody else remembers it."""

    async def persist(self, queues: Iterable[MessageQueue]) -> None:
        """Write the whole table whichever queues are named: the file is one."""
        if not self._offsets:
            return
        data = json_dialect.encode({"offsetTable": dict(sorted(self._offsets.items()))}, pretty=True)
        try:
            await self._disk.run(self._write, data)
        except MQError as error:
            logger.warning("offsets are not written to %s yet: %s", self._path, error)

    def _write(self, data: bytes) -> None:
        directory = self._path.rpartition("/")[0]
        if directory:
            self._disk.make_dirs(directory)
        self._disk.replace_file(self._path, data, keep_backup=True)
