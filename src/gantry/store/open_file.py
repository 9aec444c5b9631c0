"""Files that are opened when first needed and closed when their place is wanted by others."""

from __future__ import annotations

from collections import OrderedDict

from gantry.runtime.disk import Disk, DiskFile


class OpenFile:
    """One file by path; `handle()` opens it on first use.

    A pinned file is not closed: close() then happens at the last unpin. One thread (the loop) pins, unpins and closes.
    """

    __slots__ = ("_closing", "_disk", "_file", "_pins", "path", "writable")

    def __init__(self, disk: Disk, path: str, *, writable: bool = False, file: DiskFile | None = None) -> None:
        self._disk = disk
        self.path = path
        self.writable = writable
        self._file = file
        self._pins = 0
        self._closing = False

    def handle(self) -> DiskFile:
        file = self._file
        if file is None:
            file = self._file = self._disk.open(self.path, writable=self.writable)
            self._closing = False
        return file

    def pin(self) -> None:
        self._pins += 1

    def unpin(self) -> None:
        self._pins -= 1
        if not self._pins and self._closing:
            self._close()

    def close(self) -> None:
        if self._pins:
            self._closing = True
        else:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._closing = False


class OpenFileCache:
    """At most `count_max` open files, the least recently used one closed first.

    40,000 queues must not mean 40,000 descriptors.
    """

    def __init__(self, disk: Disk, count_max: int) -> None:
        self._disk = disk
        self._count_max = count_max
        self._files: OrderedDict[str, OpenFile] = OrderedDict()

    def __len__(self) -> int:
        return len(self._files)

    def get(self, path: str) -> OpenFile:
        file = self._files.get(path)
        if file is not None:
            self._files.move_to_end(path)
            return file
        file = self._files[path] = OpenFile(self._disk, path)
        if len(self._files) > self._count_max:
            _, oldest = self._files.popitem(last=False)
            oldest.close()
        return file

    def drop(self, path: str) -> None:
        """The file is about to be removed or replaced."""
        file = self._files.pop(path, None)
        if file is not None:
            file.close()

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
