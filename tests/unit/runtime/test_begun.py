"""A coroutine that is begun at once does what it does as a task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from gantry.runtime.begun import begun


async def test_one_that_waits_for_nothing_has_its_result_at_once() -> None:
    async def work() -> int:
        return 7

    assert begun(work()) == 7


async def test_one_that_fails_before_it_waits_fails_at_once() -> None:
    async def work() -> int:
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        begun(work())


@pytest.mark.parametrize("as_task", [False, True])
async def test_one_that_waits_goes_on_when_it_is_awaited(as_task: bool) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    steps: list[str] = []

    async def work() -> int:
        steps.append("begun")
        await asyncio.sleep(0)
        steps.append("after a turn")
        value = await future
        try:
            await failing
        except ValueError as error:
            steps.append(str(error))
        return value + 1

    failing: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = begun(work())
    assert isinstance(waiting, Awaitable)
    assert steps == ["begun"]
    future.set_result(6)
    failing.set_exception(ValueError("told"))

    async def whole() -> Any:
        return await waiting

    assert await (asyncio.create_task(whole()) if as_task else waiting) == 7
    assert steps == ["begun", "after a turn", "told"]


async def test_one_that_is_cancelled_can_clean_up() -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("cleaned up")

    waiting = begun(work())
    assert isinstance(waiting, Awaitable)

    async def whole() -> None:
        await waiting

    task = asyncio.create_task(whole())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["cleaned up"]


async def test_one_whose_wait_is_over_before_it_is_awaited() -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> str:
        return await future

    waiting = begun(work())
    future.set_result("done")
    await asyncio.sleep(0)
    assert isinstance(waiting, Awaitable)
    assert await waiting == "done"
