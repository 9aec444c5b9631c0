"""Each kind of loss and damage that the kill loop looks for, done on purpose: the loop must say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gantry.runtime.system_disk import SystemDisk
from gantry.store.inspect import iterate_log
from tests.crash.load import TOPIC
from tests.crash.retention import log_files
from tests.crash.test_kill_loop import SETTINGS, KillLoop
from tests.interop.cluster import GantryBroker, ServerFailed

Damage = Callable[[KillLoop], None]


def overwrite(path: Path, position: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        file.write(data)


def lose_the_last_message(loop: KillLoop) -> None:
    """What a broker does that acknowledges before it writes. Everything was acknowledged: the newest may be what was not."""
    path = next(path for path in reversed(log_files(loop.broker.store)) if path.read_bytes()[:4] != bytes(4))
    records = [item for item in iterate_log(SystemDisk(), str(path)) if item.record is not None]
    acknowledged = [item for item in records if bytes(item.record.body) in loop.history.acknowledged]  # type: ignore[union-attr]
    start = acknowledged[-1].physical_offset - int(path.name)
    overwrite(path, start, bytes(path.stat().st_size - start))


def lose_the_front(loop: KillLoop) -> None:
    """What too eager a retention does. One file only: the next always holds messages of all queues, the third may be empty."""
    log_files(loop.broker.store)[0].unlink()


def acknowledge_what_is_not_there(loop: KillLoop) -> None:
    loop.history.acknowledged[b"s0 999999999 "] = (0, 10_000_000)


def show_what_was_never_sent(loop: KillLoop) -> None:
    body = next(body for body, place in loop.history.acknowledged.items() if place[0] == 2)
    del loop.history.acknowledged[body]


def show_what_was_refused(loop: KillLoop) -> None:
    loop.history.refused.add(next(body for body, place in loop.history.acknowledged.items() if place[0] == 1))


def change_what_was_seen(loop: KillLoop) -> None:
    loop.history.seen[3, 5] = b"s3 5 another body"


def store_in_another_order(loop: KillLoop) -> None:
    """The first two messages of one sender, as if they lay the other way round."""
    history = loop.history
    first, second = [body for body, place in history.acknowledged.items() if place[0] == 0 and body.startswith(b"s0 ")][:2]
    history.acknowledged[first], history.acknowledged[second] = history.acknowledged[second], history.acknowledged[first]


def remove_a_file_of_the_index(loop: KillLoop) -> None:
    min((loop.broker.store / "index").iterdir()).unlink()


def empty_an_entry_of_a_queue(loop: KillLoop) -> None:
    overwrite(min((loop.broker.store / "consumequeue" / TOPIC / "1").iterdir()), 7 * 20, bytes(20))


@pytest.mark.parametrize(
    ("stage", "damage", "said"),
    [
        ("before_start", lose_the_last_message, "acknowledged sends are not readable|the commit log is damaged"),
        ("before_start", lose_the_front, "but nothing from 0 on was due to go"),
        ("before_check", acknowledge_what_is_not_there, "1 acknowledged sends are not readable"),
        ("before_check", show_what_was_never_sent, "was never sent"),
        ("before_check", show_what_was_refused, "was refused and is at offset"),
        ("before_check", change_what_was_seen, "offset 5 was b's3 5 another body' and is"),
        ("before_check", store_in_another_order, "acknowledged sends are not readable"),
        ("before_check", remove_a_file_of_the_index, "index: entry 0 is"),
        ("before_check", empty_an_entry_of_a_queue, "queue 1, offset . of|entries 7 to 7 are empty"),
    ],
)
def test_the_kill_loop_tells(stage: str, damage: Damage, said: str, tmp_path: Path) -> None:
    broker = GantryBroker(tmp_path, "", settings=SETTINGS)
    try:
        with pytest.raises((AssertionError, ServerFailed), match=said):
            KillLoop(broker.start(), 1, **{stage: damage}).cycle()  # type: ignore[arg-type]
    finally:
        if broker.running:
            broker.kill()
