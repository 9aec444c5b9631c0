"""Reads written once and run two ways: at once while the page cache has the data, otherwise awaiting the disk.

Theory. A read is a generator that yields ReadStep objects and gets bytes back. `run_steps` drives it with pread_nowait; when
that says it would block, the rest of the generator runs in a coroutine that hands each pread to Disk.run. So the event
loop never waits for a cold read, and a hot read costs no task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import NamedTuple, TypeVar

from gantry.runtime.disk import Disk

from .open_file import OpenFile

T = TypeVar("T")


class ReadStep(NamedTuple):
    """Bytes wanted from a file. Units: bytes; fewer come back only at the file's end."""

    file: OpenFile
    length: int
    position: int


Steps = Generator[ReadStep, bytes, T]


def run_steps(disk: Disk, steps: Steps[T]) -> T | Awaitable[T]:
    """The result, or an awaitable of it once a step would block."""
    try:
        step = next(steps)
        while True:
            data = step.file.handle().pread_nowait(step.length, step.position)
            if data is None:
                step.file.pin()
                return _finish(disk, steps, step)
            step = steps.send(data)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def _finish(disk: Disk, steps: Steps[T], step: ReadStep) -> T:
    """Runs the rest. The file of the step under way is pinned: it stays open although its cache may drop it."""
    try:
        while True:
            try:
                data = await disk.run(step.file.handle().pread, step.length, step.position)
            finally:
                step.file.unpin()
            step = steps.send(data)
            step.file.pin()
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def complete(disk: Disk, steps: Steps[T]) -> T:
    """The result, awaiting what must be awaited."""
    result = run_steps(disk, steps)
    return await result if isinstance(result, Awaitable) else result
