"""The broker's tables on the disk: from time to time, and whole when it stops."""

from __future__ import annotations

import asyncio
import logging

from gantry.errors import StoreError

from .config_file import ConfigFile
from .context import BrokerContext

log = logging.getLogger(__name__)


class TableSaver:
    """Saves what changed every `flushConsumerOffsetInterval` ms while it runs."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._saving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._saving = asyncio.get_running_loop().create_task(self._save_again_and_again())

    async def stop(self) -> None:
        """All of them are on the disk when this returns; what could not be written is logged."""
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.gather(self._saving, return_exceptions=True)
        context = self._context
        # The offsets of delays and transactions that may be written are those whose messages are on the disk.
        await context.timer.save()
        await context.store.flush()
        context.pop.account.settle()
        context.transactions.note_positions()
        for file in [*self._files(), context.schedule.file, context.transactions.metrics.file]:
            try:
                await file.flush()
            except StoreError as error:
                log.error("%s is not up to date: %s", file.path, error)

    async def _save_again_and_again(self) -> None:
        context = self._context
        while True:
            await context.clock.sleep_ms(context.config.flush_consumer_offset_interval)
            context.consumer_filters.clean()
            for file in self._files():
                if file.pending:
                    await file.save()

    def _files(self) -> list[ConfigFile]:
        context = self._context
        return [
            context.topics.file,
            context.subscriptions.file,
            context.offsets.file,
            context.consumer_filters.file,
            context.pop.order_infos.file,
            context.request_modes.file,
        ]
