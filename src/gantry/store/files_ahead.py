"""Log files and pages made before the writer comes to them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from gantry.errors import DiskError, DiskFull
from gantry.runtime.clock import Clock
from gantry.runtime.disk import Disk, DiskFile

from .commit_log import CommitLog
from .disk_state import DiskState

log = logging.getLogger(__name__)

_RETRY_MS = 1000


class FilesAhead:
    """Makes the file after the one being written, so that a roll costs the loop a rename, and brings the pages ahead of the
    writer into memory, `window_bytes` at a time.

    `spawn` runs a coroutine in the background. `on_full` hears of a disk that has no room for the file that is needed now,
    `on_failure` of everything worse.
    """

    def __init__(
        self,
        log_: CommitLog,
        disk: Disk,
        clock: Clock,
        state: DiskState,
        *,
        window_bytes: int,
        spawn: Callable[[Awaitable[object]], None],
        on_full: Callable[[DiskFull], None],
        on_failure: Callable[[DiskError], None],
    ) -> None:
        self._log = log_
        self._disk = disk
        self._clock = clock
        self._state = state
        self._window = window_bytes
        self._spawn = spawn
        self._on_full = on_full
        self._on_failure = on_failure
        self._started = False
        self._allocating = False
        self._allocate_after_ms = 0
        self._prefaulted = 0
        self._prefaulting = False

    def start(self) -> None:
        """Begins where the log ends now."""
        self._prefaulted = self._log.wrote_offset
        self._started = True
        self._allocate_ahead()

    def look(self, wrote: int) -> int:
        """Does what is due at this end of the log; returns the end at which to look again, 0 for at the next commit."""
        log_, window = self._log, self._window
        if log_.files_end - wrote < log_.file_size:
            self._allocate_ahead()
        if wrote + (window >> 1) > self._prefaulted:
            self._prefault_ahead()
        ahead = log_.files_end - log_.file_size + 1
        if ahead > wrote and window and self._prefaulted - (window >> 1) >= wrote:
            return min(ahead, self._prefaulted - (window >> 1) + 1)
        return 0  # something is still under way

    async def allocate(self, *, needed: bool = False) -> None:
        """Makes the next file now. With `needed`, a disk without room for it is told."""
        log_ = self._log
        self._allocating = True
        try:
            size = log_.file_size
            wrote = log_.wrote_offset
            if log_.files and log_.files_end - wrote >= size:
                return
            start = log_.files_end if log_.files else wrote - wrote % size
            staged = await self._disk.run(log_.allocate_staged, start, log_.next_staging_number())
            log_.install(start, staged)
        except DiskFull as error:
            if needed:
                self._on_full(error)
            else:
                # The current file has room still: only a write that needs the next one will be refused.
                log.warning("the next commit log file cannot be made ahead: %s", error)
                self._allocate_after_ms = self._clock.monotonic_ms() + _RETRY_MS
        except DiskError as error:
            self._on_failure(error)
        finally:
            self._allocating = False

    # --- inside

    def _allocate_ahead(self) -> None:
        if self._allocating or not self._started or self._state.failure is not None or self._state.shut_down:
            return
        if self._clock.monotonic_ms() >= self._allocate_after_ms:
            self._allocating = True
            self._spawn(self.allocate())

    def _prefault_ahead(self) -> None:
        if self._prefaulting or not self._window or not self._started:
            return
        begin = max(self._prefaulted, self._log.wrote_offset)
        item = self._log.find_file(begin)
        if item is None:
            return
        end = min(begin + self._window, item.start + self._log.file_size)
        self._prefaulting = True
        self._prefaulted = end
        self._spawn(self._prefault(item.file.handle(), begin - item.start, end - begin))

    async def _prefault(self, file: DiskFile, position: int, length: int) -> None:
        try:
            await self._disk.run(file.prefault, position, length)
        except DiskError as error:
            log.warning("pages ahead of the writer could not be prepared: %s", error)
        finally:
            self._prefaulting = False
