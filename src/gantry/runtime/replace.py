"""Metadata files that are replaced as a whole: topics, groups, offsets, delays, epochs.

Theory. At every instant, and after a power cut at every instant, the file under its name is the old one or the new one,
never a mixture, and the copy `.bak` is a whole earlier one. Order of the steps:

    1  write `<path>.tmp`, sync it                      the new bytes are on the disk before any name points to them
    2  link the old file as `<path>.bak.tmp`, rename that to `<path>.bak`
                                                        the old file keeps its own name meanwhile (a copy is written and
                                                        synced instead where the file system knows no links)
    3  rename `<path>.tmp` to `<path>`
    4  sync the directory
    5  replace the checksum sidecar, by 1 and 3 without any sync

A crash between 3 and 5 leaves a sidecar of the old content, a power cut after 5 maybe an empty one; so does a Java broker,
which writes these files without one. That is why a mismatch is only worth a log line, and only a file that does not parse
falls back to its copy; and why nobody waits for the sidecar (a sync costs milliseconds, on a busy disk seconds: the first
send to a new topic waits for this).
The steps use the primitives of the Disk door alone, so a simulated disk can stop at each.
"""

from __future__ import annotations

import errno
import logging
import posixpath
import zlib
from collections.abc import Callable
from typing import TypeVar

from gantry.errors import DiskError, DiskFault

from .disk import Disk

log = logging.getLogger(__name__)

T = TypeVar("T")

_NO_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES, errno.EXDEV))


def replace_file(disk: Disk, path: str, data: bytes, *, keep_backup: bool = True, checksum_path: str | None = None) -> None:
    """Put `data` in place of the file's content; blocking (it syncs): hand it to Disk.run on a loop.

    `keep_backup` keeps the content it replaces as `<path>.bak`. `checksum_path` names a sidecar for `checksum_text`; it
    is the caller's choice because our own files must not lie inside the official directories.
    Raises: DiskFull, DiskFault; then the old file is still there, whole.
    """
    directory = posixpath.dirname(path) or "."
    _write(disk, path + ".tmp", data, synced=True)
    if keep_backup and disk.exists(path):
        _keep_copy(disk, path)
    disk.rename(path + ".tmp", path)
    disk.sync_dir(directory)
    if checksum_path is not None:
        _put_sidecar(disk, checksum_path, checksum_text(data))


def make_dirs_synced(disk: Disk, path: str) -> None:
    """Make a directory and its missing parents so that a power cut does not take them, and what is put there later, away."""
    made: list[str] = []
    missing = path
    while missing not in ("", "/") and not disk.is_dir(missing):
        made.append(missing)
        missing = posixpath.dirname(missing)
    if made:
        disk.make_dirs(path)
        for directory in made:
            disk.sync_dir(posixpath.dirname(directory) or ".")


def checksum_text(data: bytes) -> bytes:
    """Content of a checksum sidecar. Shape: `crc32=<8 hex digits> size=<decimal>\\n`."""
    return b"crc32=%08x size=%d\n" % (zlib.crc32(data), len(data))


def load_file(disk: Disk, path: str, parse: Callable[[bytes], T], *, checksum_path: str | None = None) -> T | None:
    """Read and parse a metadata file, or else its `.bak` copy.

    `parse` raises ValueError (UnicodeDecodeError and JSON errors are such) for content it cannot use; an empty file
    never reaches it. Returns None when neither file exists.
    Raises: ValueError when something exists but nothing of it parses; DiskFault.
    """
    problem: Exception | None = None
    for candidate in (path, path + ".bak"):
        if not disk.exists(candidate):
            continue
        try:
            data = disk.read_file(candidate)
            if not data:
                raise ValueError("the file is empty")
            value = parse(data)
        except (ValueError, DiskError) as e:
            log.warning("%s cannot be used: %s", candidate, e)
            problem = e
            continue
        if candidate == path:
            _compare_checksum(disk, path, data, checksum_path)
        else:
            log.warning("%s was read in place of %s", candidate, path)
        return value
    if problem is None:
        return None
    if isinstance(problem, DiskError):
        raise problem
    raise ValueError(f"neither {path} nor {path}.bak can be used: {problem}") from problem


def _compare_checksum(disk: Disk, path: str, data: bytes, checksum_path: str | None) -> None:
    if checksum_path is None or not disk.exists(checksum_path):
        return
    if disk.read_file(checksum_path) != checksum_text(data):
        log.warning("%s is not what was last written by this program (another broker wrote it, or a power cut came)", path)


def _put_sidecar(disk: Disk, path: str, text: bytes) -> None:
    """What it is for does not depend on it: that it cannot be written is only told."""
    try:
        _write(disk, path + ".tmp", text, synced=False)
        disk.rename(path + ".tmp", path)
    except DiskError as e:
        log.warning("%s is not up to date: %s", path, e)


def _write(disk: Disk, path: str, data: bytes, *, synced: bool) -> None:
    # What an earlier try left behind is removed first: it may be longer, or poisoned by a failed sync.
    if disk.exists(path):
        disk.unlink(path)
    file = disk.open(path, create=True)
    try:
        file.pwrite(data, 0)
        if synced:
            file.sync()
    except DiskError:
        file.close()
        _discard(disk, path)
        raise
    file.close()


def _keep_copy(disk: Disk, path: str) -> None:
    copy = path + ".bak.tmp"
    if disk.exists(copy):
        disk.unlink(copy)
    try:
        disk.link(path, copy)
    except DiskFault as e:
        if e.errno not in _NO_LINKS:
            raise
        _write(disk, copy, disk.read_file(path), synced=True)
    disk.rename(copy, path + ".bak")


def _discard(disk: Disk, path: str) -> None:
    try:
        disk.unlink(path)
    except DiskError as e:
        log.warning("leftover %s stays: %s", path, e)
