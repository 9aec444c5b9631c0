"""What became of a half message, as the index of the log knows it.

A crash forgets ends that were not in the op queue yet and positions that were not saved yet, and a half that was over or has
gone on elsewhere looks open again. All copies of a half carry its unique key, so the index finds them: those later in the log
than the half itself say what became of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.model import sys_flag
from gantry.protocol.message.record import RecordView

from .half_message import HALF_TOPIC, PARKED_TOPIC, Half, Identity

if TYPE_CHECKING:
    from gantry.store import MessageStore

COPIES_MAX = 64
INDEX_CLOCK_STEP_MS = 2_000
"""The index keeps times in whole seconds since its file began."""
_FOR_EVER = (1 << 63) - 1


class Copies:
    """Questions about one half. Each raises StoreError."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store

    @property
    def known(self) -> bool:
        """Whether there is an index to ask."""
        return self._store.config.message_index_enable

    async def committed(self, half: Half) -> bool:
        """Its message is in the real topic."""
        return any(
            view.sys_flag & sys_flag.TRANSACTION_MASK == sys_flag.TRANSACTION_COMMIT
            for view in await self._later(half, half.real_topic)
        )

    async def newest_offset(self, half: Half) -> int:
        """Queue offset of its newest copy in the half topic; its own when it is the newest."""
        return max((view.queue_offset for view in await self._later(half, HALF_TOPIC)), default=half.view.queue_offset)

    async def parked(self, half: Half) -> bool:
        return bool(await self._later(half, PARKED_TOPIC))

    async def is_over(self, half: Half) -> bool:
        """It ended, or goes on as a later copy."""
        return await self.committed(half) or await self.newest_offset(half) > half.view.queue_offset or await self.parked(half)

    async def _later(self, half: Half, topic: str) -> list[RecordView]:
        """Copies of it in this topic, stored after it."""
        if not half.unique_key or not self.known:
            return []
        begin = half.view.store_timestamp - INDEX_CLOCK_STEP_MS
        found = await self._store.query_by_key(topic, half.unique_key, COPIES_MAX, begin, _FOR_EVER)
        views = [RecordView(record) for record in found.records]
        after = half.view.physical_offset
        identity = half.identity
        return [
            view
            for view in views
            if view.physical_offset > after and Identity(half.unique_key, view.born_timestamp, view.body_crc) == identity
        ]
