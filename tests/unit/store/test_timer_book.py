"""The timer's files: official bytes, what a start makes of whatever it finds, and the wheel's rules."""

from __future__ import annotations

import gzip
from array import array
from typing import Any

import pytest

from gantry._core import java_string_hash
from gantry.protocol.disk.timer_checkpoint_layout import (
    TIMER_CHECKPOINT_FILE_SIZE,
    TimerCheckpoint,
    decode_timer_checkpoint,
    encode_timer_checkpoint,
)
from gantry.protocol.disk.timer_log_unit import UNIT_SIZE, TimerLogUnit, decode_timer_unit, encode_timer_blank, is_timer_blank
from gantry.protocol.disk.timer_wheel_slot import SLOT_SIZE, WHEEL_FILE_SIZE, WHEEL_SLOTS, decode_slot
from gantry.store.timer import Found, TimerBook
from gantry.testing import MemoryDisk
from tests.unit.store.store_world import ROOT, STORES, copy_into, expected

GOLDEN = STORES / "timer"
NOW = 1_700_000_000_000
SECOND = 1000


def make_book(disk: MemoryDisk, **settings: Any) -> TimerBook:
    values: dict[str, Any] = {"precision_ms": SECOND, "roll_window_slots": 100, "log_file_size": 1040, "slot_count": 400}
    values.update(settings)
    return TimerBook(disk, ROOT, **values)


def opened(disk: MemoryDisk | None = None, now_ms: int = NOW, **settings: Any) -> tuple[MemoryDisk, TimerBook, Found]:
    disk = disk or MemoryDisk()
    book = make_book(disk, **settings)
    return disk, book, book.load(now_ms)


def saved(book: TimerBook) -> None:
    book.sync_log()
    book.save(book.account())


def fired(book: TimerBook, upto_ms: int) -> list[int]:
    """Physical offsets in the order they fire."""
    offsets = []
    while (time_ms := book.next_slot(upto_ms, 10_000_000)) is not None:
        offsets += [unit.physical_offset for _, unit in book.entries(book.collect(time_ms).positions)]
        book.read_time_ms += book.precision_ms
    return offsets


def golden_entries() -> list[dict[str, Any]]:
    return [line for line in expected("timer")["timerlog"] if not line.get("blank")]


def golden_disk() -> MemoryDisk:
    disk = MemoryDisk()
    copy_into(disk, GOLDEN)
    file = disk.open(f"{ROOT}/timerwheel", create=True)
    file.pwrite(gzip.decompress((GOLDEN / "timerwheel.gz").read_bytes()), 0)
    file.sync()
    disk.sync_dir(ROOT)
    disk.unlink(f"{ROOT}/timerwheel.gz")
    return disk


# -- official bytes


def test_units_of_an_official_timer_log_read_and_write_alike() -> None:
    data = b"".join(path.read_bytes() for path in sorted((GOLDEN / "timerlog").iterdir()))
    for line in golden_entries():
        unit = decode_timer_unit(data, line["pos"])
        assert unit == TimerLogUnit(
            line["size"],
            line["prevPos"],
            line["magic"],
            line["currWriteTime"],
            line["delayedTime"],
            line["offsetPy"],
            line["sizePy"],
            line["hashCode"],
            line["reserved"],
        )
        assert unit.valid
        assert unit.slot_time_ms == line["dueTime"]
        assert unit.topic_hash == java_string_hash(line["realTopic"])
        assert unit.encode() == data[line["pos"] : line["pos"] + UNIT_SIZE]
    blank = data[19 * UNIT_SIZE : 1040]
    assert is_timer_blank(blank)
    assert encode_timer_blank(len(blank)) == blank[:16]


def test_slots_of_an_official_wheel_read_alike() -> None:
    data = gzip.decompress((GOLDEN / "timerwheel.gz").read_bytes())
    assert len(data) == WHEEL_FILE_SIZE
    lines = expected("timer")["timerwheel"]
    for line in lines:
        slot = decode_slot(data, line["index"] * SLOT_SIZE)
        assert slot == (line["time"], line["firstPos"], line["lastPos"], line["num"], line["magic"])
        assert slot.tick % WHEEL_SLOTS == line["index"]
        assert slot.encode() == data[line["index"] * SLOT_SIZE : (line["index"] + 1) * SLOT_SIZE]
    assert sum(1 for at in range(0, len(data), SLOT_SIZE) if any(data[at : at + SLOT_SIZE])) == len(lines)


def test_an_official_timercheck_reads_and_writes_alike() -> None:
    data = (GOLDEN / "config" / "timercheck").read_bytes()
    assert len(data) == TIMER_CHECKPOINT_FILE_SIZE
    check = decode_timer_checkpoint(data)
    wanted = expected("timer")["timercheck"]
    assert check == TimerCheckpoint(*wanted.values())
    assert encode_timer_checkpoint(check) == data[:56]
    assert decode_timer_checkpoint(data[:32]) == TimerCheckpoint(*list(wanted.values())[:4])
    assert decode_timer_checkpoint(data[:31]) is None


def test_the_same_messages_make_the_same_files() -> None:
    """What the official broker entered, entered here at the same times: timer log and wheel are equal byte for byte."""
    disk, book, _ = opened(slot_count=WHEEL_SLOTS, roll_window_slots=172_800)
    facts = {each["physicalOffset"]: each for each in expected("timer")["records"]}
    for line in golden_entries():
        record = facts[line["offsetPy"]]
        book.read_time_ms = line["currWriteTime"]
        book.place(
            int(record["properties"]["TIMER_OUT_MS"]),
            line["currWriteTime"],
            line["offsetPy"],
            line["sizePy"],
            line["hashCode"],
            recalls=bool(line["magic"] & 4),
        )
    saved(book)
    for path in (GOLDEN / "timerlog").iterdir():
        assert disk.read_file(f"{ROOT}/timerlog/{path.name}") == path.read_bytes()
    assert disk.read_file(f"{ROOT}/timerwheel") == gzip.decompress((GOLDEN / "timerwheel.gz").read_bytes())


def test_a_java_brokers_files_are_continued() -> None:
    wanted = expected("timer")
    disk, book, found = opened(golden_disk(), wanted["stoppedAtMs"], slot_count=WHEEL_SLOTS, roll_window_slots=172_800)
    assert found is Found.FOREIGN
    assert book.read_time_ms == wanted["timercheck"]["lastReadTimeMs"]
    assert book.queue_offset == 34
    entry = book.last_entry()
    assert entry is not None
    assert entry.physical_offset == golden_entries()[-1]["offsetPy"]
    pending = {line["offsetPy"] for line in golden_entries() if line["dueTime"] >= book.read_time_ms and not line["magic"] & 4}
    assert set(fired(book, book.read_time_ms + 2 * 86_400_000)) == pending
    saved(book)
    book.close()
    _, again, found = opened(disk, wanted["stoppedAtMs"], slot_count=WHEEL_SLOTS, roll_window_slots=172_800)
    assert found is Found.OWN
    assert again.log.end == book.log.end


# -- rules


def test_entries_of_a_slot_come_in_the_order_they_were_entered() -> None:
    _, book, found = opened()
    assert found is Found.NOTHING
    for number in range(100):
        book.place(NOW + number % 7 * SECOND, NOW, number * 200, 200, 1)
    assert fired(book, NOW + 10 * SECOND) == [n * 200 for slot in range(7) for n in range(100) if n % 7 == slot]


@pytest.mark.parametrize(("ahead", "slot"), [(99, 99), (100, 50), (132, 50), (133, 100), (1_000, 100)])
def test_a_far_time_waits_in_a_nearer_slot_to_be_put_back(ahead: int, slot: int) -> None:
    _, book, _ = opened()
    unit = book.place(NOW + ahead * SECOND, NOW, 0, 200, 1)
    assert unit.slot_time_ms == NOW + slot * SECOND
    assert unit.rolls == (ahead != slot)


def test_what_is_late_opens_the_slot_before_and_repeats_nothing() -> None:
    _, book, _ = opened()
    book.place(NOW, NOW, 0, 200, 1)
    assert fired(book, NOW + SECOND) == [0]
    book.place(NOW - SECOND, NOW + SECOND, 200, 200, 1)
    book.place(NOW - 5 * SECOND, NOW + SECOND, 400, 200, 1)
    assert fired(book, NOW + SECOND) == [200, 400]
    assert book.read_time_ms == NOW + SECOND


def test_a_time_that_another_turn_of_the_wheel_holds_is_moved_on() -> None:
    _, book, _ = opened()
    book.place(NOW + 90 * SECOND, NOW, 0, 200, 1)
    book.read_time_ms = NOW - 310 * SECOND  # the wall clock went back by more than the wheel holds
    unit = book.place(NOW - 310 * SECOND, NOW - 310 * SECOND, 200, 200, 1)
    assert unit.slot_time_ms == NOW - 309 * SECOND
    assert unit.rolls
    assert book.count_at(NOW + 90 * SECOND) == 1


def test_marks_are_counted_down_and_kept_apart() -> None:
    _, book, _ = opened()
    book.place(NOW, NOW, 0, 200, 1)
    book.place(NOW, NOW, 200, 200, 1, recalls=True)
    assert book.count_at(NOW) == 0
    collected = book.collect(NOW)
    assert len(collected.positions) == len(collected.marks) == 1
    assert book.entries(collected.marks)[0][1].physical_offset == 200


def test_files_whose_records_are_gone_are_removed() -> None:
    disk, book, _ = opened()
    for number in range(60):
        book.place(NOW + number * SECOND, NOW, number * 200, 200, 1)
    saved(book)
    assert len(disk.list_dir(f"{ROOT}/timerlog")) == 4
    assert book.forget_below(40 * 200)
    saved(book)
    assert book.remove_files() == 2
    assert disk.list_dir(f"{ROOT}/timerlog") == ["00000000000000002080", "00000000000000003120"]
    assert fired(book, NOW + 100 * SECOND) == [n * 200 for n in range(38, 60)]
    assert book.entries(array("q")) == []
    book.close()
    assert opened(disk)[2] is Found.OWN


# -- starts


def test_a_crash_finds_the_account_and_cuts_what_lies_behind_it() -> None:
    disk, book, _ = opened()
    for number in range(30):
        book.place(NOW + number * SECOND, NOW, number * 200, 200, 1)
    book.queue_offset = 30
    saved(book)
    for number in range(30, 50):
        book.place(NOW + number % 5 * SECOND, NOW, number * 200, 200, 1)
    book.log.write()
    disk.crash(keep="all")
    _, again, found = opened(disk)
    assert found is Found.OWN
    assert (again.queue_offset, again.log.end) == (30, book.state.log_position if book.state else 0)
    assert not any(disk.read_file(f"{ROOT}/timerlog/00000000000000001040")[11 * UNIT_SIZE :])
    assert fired(again, NOW + 100 * SECOND) == [n * 200 for n in range(30)]


@pytest.mark.parametrize("name", ["timerwheel", "timerlog/00000000000000000000", "config/timercheck"])
def test_a_lost_file_means_that_all_is_entered_again(name: str) -> None:
    disk, book, _ = opened()
    for number in range(30):
        book.place(NOW + number * SECOND, NOW, number * 200, 200, 1)
    book.queue_offset = 30
    saved(book)
    saved(book)
    book.close()
    disk.unlink(f"{ROOT}/{name}")
    _, again, found = opened(disk)
    assert found is Found.LOST
    assert (again.queue_offset, again.log.end, list(again.wheel.pending(0))) == (0, 0, [])


def test_another_precision_means_that_all_is_entered_again() -> None:
    disk, book, _ = opened()
    book.place(NOW, NOW, 0, 200, 1)
    saved(book)
    book.close()
    assert opened(disk, precision_ms=100)[2] is Found.LOST


def test_the_wheel_on_the_disk_may_be_any_mixture_of_old_and_new() -> None:
    """Power cut at every step of a checkpoint, sectors lost in any way: the account decides, the wheel follows."""
    for steps in range(1, 60):
        for keep in ("none", "all"):
            disk, book, _ = opened()
            for number in range(40):
                book.place(NOW + number * 11 % 90 * SECOND, NOW, number * 200, 200, 1)
            book.queue_offset = 40
            saved(book)
            for number in range(40, 80):
                book.place(NOW + number * 7 % 90 * SECOND, NOW, number * 200, 200, 1)
            book.queue_offset = 80
            disk.cut_power_at(disk.step_count + steps)
            done = False
            try:
                saved(book)
                done = True
            except BaseException:
                pass
            disk.crash(keep=keep)
            _, again, found = opened(disk)
            assert found is Found.OWN, (steps, keep)
            assert again.queue_offset in ((80,) if done else (40, 80)), (steps, keep)
            assert sorted(fired(again, NOW + 100 * SECOND)) == [n * 200 for n in range(again.queue_offset)], (steps, keep)
        if done:
            return
    raise AssertionError("a checkpoint has more steps than this test takes")
