"""The ledger's files: journals that are appended to, and snapshots that end them.

`{store}/gantry/pop/`: `snapshot-<n>` is the ledger as it was when `journal-<n>` began. Order of a change of generation:

    1  the ledger is copied; `journal-<n+1>` begins with the length of `journal-<n>`; every later operation goes there
    2  `snapshot-<n+1>` is written aside, synced, renamed, the directory synced
    3  what has a lower number is removed

Recovery takes the newest whole snapshot and the journals from its number on, each up to its first bad record; a journal
counts only when the one before it is as long as it says. What is applied is then a beginning of what happened. An operation
that write() took survives a killed process; after a power cut the end of the journal may be missing, which only delivers
again. Before `consumerOffset.json` is replaced the journal is synced, so that the ledger is never older than that file.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
from typing import TYPE_CHECKING

from gantry.errors import DiskError, DiskFault
from gantry.runtime.replace import make_dirs_synced

from .journal_format import decode_ops, decode_snapshot, encode_op, join_snapshot, snapshot_parts
from .ledger import PopLedger
from .ops import ChainOp, Op

if TYPE_CHECKING:
    from gantry.runtime.disk import Disk, DiskFile

log = logging.getLogger(__name__)

SNAPSHOT, JOURNAL, TEMPORARY = "snapshot-", "journal-", ".tmp"


class PopJournal:
    """Reads the ledger at start, keeps it on disk afterwards.

    write() returns when the operations are in the page cache. `journal_bytes_max` bounds a journal; a larger one is ended
    by a snapshot in the background. Raises from write(): DiskFull (nothing was noted, try again later), DiskFault.
    """

    def __init__(self, disk: Disk, directory: str, *, journal_bytes_max: int) -> None:
        self.directory = directory
        self.journal_bytes_max = journal_bytes_max
        self._disk = disk
        self._generation = 0
        self._file: DiskFile | None = None
        self._at = 0
        self._named = False
        """The journal's name is on the disk."""
        self._snapshot_bytes = 0
        self._ending: asyncio.Task[None] | None = None

    # -- at the start, blocking

    def load(self) -> PopLedger:
        """The ledger as its files tell it. Blocking: use Disk.run. Raises: DiskFault."""
        if not self._disk.is_dir(self.directory):
            return PopLedger()
        names = self._disk.list_dir(self.directory)
        self._generation = max(map(_number, names), default=0)
        ledger, generation = self._newest_snapshot(names)
        length = -1
        while self._disk.exists(self._path(JOURNAL, generation)):
            data = self._disk.read_file(self._path(JOURNAL, generation))
            end, first = 0, True
            for op, stop in decode_ops(data):
                if first and length >= 0 and op != ChainOp(generation, length):
                    log.warning("%s does not follow on the journal before it and is left out", self._path(JOURNAL, generation))
                    return ledger
                first = False
                ledger.apply(op)
                end = stop
            if end < len(data):
                log.warning("%s is read up to byte %d of %d", self._path(JOURNAL, generation), end, len(data))
            length = end
            generation += 1
        return ledger

    def begin(self, ledger: PopLedger) -> None:
        """Begins a generation with this ledger, all of it on the disk. Blocking: use Disk.run. Raises: DiskError."""
        make_dirs_synced(self._disk, self.directory)
        self._generation += 1
        data = join_snapshot(snapshot_parts(ledger))
        self._open(previous=0)
        self._finish(self._generation, data)

    # -- while it runs

    def write(self, *ops: Op) -> None:
        """Notes operations, all or none."""
        file = self._file
        assert file is not None, "the journal has not begun"
        data = b"".join(map(encode_op, ops))
        # A write that failed may have left a part: the next one takes its place, and a reader stops at it.
        file.pwrite(data, self._at)
        self._at += len(data)

    def sync(self) -> None:
        """Everything written before the call is on the disk. Blocking: use Disk.run. Raises: DiskFault."""
        file = self._file
        if file is None:
            return
        file.sync()
        if not self._named:
            self._disk.sync_dir(self.directory)
            self._named = True

    def end_if_long(self, ledger: PopLedger) -> None:
        """Begins the next generation in the background when this one has grown long."""
        if self._at < max(self.journal_bytes_max, 2 * self._snapshot_bytes):
            return
        if self._ending is not None and not self._ending.done():
            return
        parts = snapshot_parts(ledger)
        old, at, generation = self._file, self._at, self._generation
        try:
            self._generation += 1
            self._open(previous=at)
        except DiskError as error:
            log.error("the ledger's journal cannot be ended now: %s", error)
            self._file, self._at, self._generation = old, at, generation
            self.journal_bytes_max = max(self.journal_bytes_max, 2 * at)
            return
        self._ending = asyncio.get_running_loop().create_task(self._end(old, self._generation, parts))

    async def close(self) -> None:
        """Ends what is under way."""
        if self._ending is not None:
            await asyncio.gather(self._ending, return_exceptions=True)
        if self._file is not None:
            self._file.close()
            self._file = None

    # -- inside

    async def _end(self, old: DiskFile | None, generation: int, parts: list[bytes]) -> None:
        try:
            await self._disk.run(self._write_snapshot, old, generation, parts)
        except DiskError as error:
            log.error("snapshot of the ledger not written, its journals stay: %s", error)

    def _write_snapshot(self, old: DiskFile | None, generation: int, parts: list[bytes]) -> None:
        if old is not None:
            # A power cut before the snapshot is there must find the journals in one piece, one after the other.
            old.sync()
            old.close()
        self._finish(generation, join_snapshot(parts))

    def _finish(self, generation: int, data: bytes) -> None:
        self._disk.replace_file(self._path(SNAPSHOT, generation), data, keep_backup=False)
        self._named = True
        self._snapshot_bytes = len(data)
        for name in self._disk.list_dir(self.directory):
            if name.startswith((SNAPSHOT, JOURNAL)) and _number(name) < generation:
                self._disk.unlink(posixpath.join(self.directory, name))

    def _open(self, *, previous: int) -> None:
        path = self._path(JOURNAL, self._generation)
        if self._disk.exists(path):
            self._disk.unlink(path)
        file = self._disk.open(path, create=True)
        chain = encode_op(ChainOp(self._generation, previous))
        try:
            file.pwrite(chain, 0)
        except DiskError:
            file.close()
            self._disk.unlink(path)
            raise
        self._file, self._at, self._named = file, len(chain), False

    def _newest_snapshot(self, names: list[str]) -> tuple[PopLedger, int]:
        for number in sorted((_number(name) for name in names if name.startswith(SNAPSHOT)), reverse=True):
            path = self._path(SNAPSHOT, number)
            try:
                return decode_snapshot(self._disk.read_file(path)), number
            except (ValueError, DiskFault) as error:
                log.error("%s cannot be used: %s", path, error)
        journals = [_number(name) for name in names if name.startswith(JOURNAL)]
        if journals:
            log.error("the ledger in %s has journals without a snapshot; popped messages are delivered again", self.directory)
        return PopLedger(), max(journals, default=0) + 1

    def _path(self, kind: str, generation: int) -> str:
        return posixpath.join(self.directory, f"{kind}{generation:08d}")


def _number(name: str) -> int:
    """Of a snapshot or journal; 0 for any other name."""
    digits = name.rpartition("-")[2]
    return int(digits) if name.startswith((SNAPSHOT, JOURNAL)) and digits.isdigit() else 0
