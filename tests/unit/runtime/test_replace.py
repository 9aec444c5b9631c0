"""Metadata files: old or new, never mixed, whatever happens and whenever."""

from __future__ import annotations

import contextlib
import errno
import json

import pytest

from gantry.errors import DiskError, DiskFault
from gantry.runtime.replace import checksum_text, load_file
from gantry.testing import MemoryDisk, PowerCut, SeededRng

PATH = "/store/config/topics.json"
SUM = "/store/gantry/topics.sum"


def _disk() -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_dirs("/store/config")
    disk.make_dirs("/store/gantry")
    for path in ("/", "/store"):
        disk.sync_dir(path)
    return disk


def _value(n: int) -> bytes:
    return json.dumps({"n": n, "fill": "x" * 1500}).encode()


def _parse(data: bytes) -> int:
    return int(json.loads(data)["n"])


def _replace(disk: MemoryDisk, n: int) -> None:
    disk.replace_file(PATH, _value(n), checksum_path=SUM)


def _steps() -> int:
    disk = _disk()
    _replace(disk, 1)
    _replace(disk, 2)
    before = disk.step_count
    _replace(disk, 3)
    return disk.step_count - before


@pytest.mark.parametrize("keep", ["none", "all", "subset"])
@pytest.mark.parametrize("step", range(1, _steps() + 1))
def test_a_cut_at_every_step_leaves_old_or_new(step: int, keep: str) -> None:
    for seed in range(20 if keep == "subset" else 1):
        disk = _disk()
        _replace(disk, 1)
        _replace(disk, 2)
        disk.cut_power_at(disk.step_count + step, torn=True)
        with pytest.raises(PowerCut):
            _replace(disk, 3)
        disk.crash(SeededRng(seed), keep)  # type: ignore[arg-type]
        # The file under its own name is whole: the copy is never needed for a crash alone.
        assert _parse(disk.read_file(PATH)) in (2, 3)
        assert _parse(disk.read_file(PATH + ".bak")) in (1, 2)
        assert load_file(disk, PATH, _parse, checksum_path=SUM) in (2, 3)
        # And the next replacement works on whatever was left lying about.
        _replace(disk, 4)
        disk.crash()
        assert load_file(disk, PATH, _parse, checksum_path=SUM) == 4


def test_leftovers_of_an_earlier_try_are_not_mixed_in() -> None:
    disk = _disk()
    for name in (PATH + ".tmp", PATH + ".bak.tmp", SUM + ".tmp"):
        disk.open(name, create=True).pwrite(b"x" * 9999, 0)
    _replace(disk, 1)
    disk.open(PATH + ".bak.tmp", create=True).pwrite(b"x" * 9999, 0)
    _replace(disk, 2)
    assert (disk.read_file(PATH), disk.read_file(PATH + ".bak")) == (_value(2), _value(1))
    assert disk.read_file(SUM) == checksum_text(_value(2))


def test_once_it_returns_the_new_content_survives() -> None:
    disk = _disk()
    _replace(disk, 1)
    assert disk.read_file(SUM) == checksum_text(_value(1))
    disk.crash()
    assert disk.read_file(PATH) == _value(1)


def test_nobody_waits_for_the_sidecar() -> None:
    """One sync of the file and one of its directory: the first send to a new topic waits for them."""
    disk = _disk()
    disk.fail("sync", nth=2)
    disk.fail("sync_dir", nth=2)
    _replace(disk, 1)
    assert disk.read_file(SUM) == checksum_text(_value(1))


def test_a_sidecar_that_cannot_be_written_is_told_and_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    disk = _disk()
    disk.fail("rename", nth=2)
    _replace(disk, 1)
    disk.crash()
    assert load_file(disk, PATH, _parse, checksum_path=SUM) == 1
    assert f"{SUM} is not up to date" in caplog.text


@pytest.mark.parametrize("op", ["open", "create", "pwrite", "sync", "rename", "link", "sync_dir"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_failing_step_leaves_old_or_new_and_the_next_try_works(op: str, error: int) -> None:
    for nth in (1, 2, 3):
        disk = _disk()
        _replace(disk, 1)
        _replace(disk, 2)
        disk.fail(op, error=error, nth=nth)
        with contextlib.suppress(DiskError):
            _replace(disk, 3)
        assert load_file(disk, PATH, _parse) in (2, 3)
        disk.heal()
        _replace(disk, 4)
        assert load_file(disk, PATH, _parse) == 4


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_where_links_are_unknown_the_copy_is_written(number: int) -> None:
    disk = _disk()
    disk.fail("link", error=number, times=100)
    _replace(disk, 1)
    _replace(disk, 2)
    disk.crash()
    assert (disk.read_file(PATH), disk.read_file(PATH + ".bak")) == (_value(2), _value(1))


@pytest.mark.parametrize("bad", [b"", b"{", b"\xff\xff", b'{"m": 1}'[:3]])
def test_what_does_not_parse_falls_back_to_the_copy(bad: bytes, caplog: pytest.LogCaptureFixture) -> None:
    disk = _disk()
    _replace(disk, 1)
    _replace(disk, 2)
    file = disk.open(PATH)
    file.truncate(0)
    file.pwrite(bad, 0)
    assert load_file(disk, PATH, _parse, checksum_path=SUM) == 1
    assert f"{PATH}.bak was read in place" in caplog.text


def test_a_missing_file_falls_back_to_the_copy() -> None:
    disk = _disk()
    _replace(disk, 1)
    _replace(disk, 2)
    disk.unlink(PATH)
    assert load_file(disk, PATH, _parse) == 1
    disk.unlink(PATH + ".bak")
    assert load_file(disk, PATH, _parse) is None


def test_nothing_usable_is_an_error() -> None:
    disk = _disk()
    disk.replace_file(PATH, b"{")
    with pytest.raises(ValueError, match=r"neither .* nor .* can be used"):
        load_file(disk, PATH, _parse)
    disk.fail("pread", times=10)
    with pytest.raises(DiskFault):
        load_file(disk, PATH, _parse)


def test_another_writer_is_only_worth_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    disk = _disk()
    _replace(disk, 1)
    assert load_file(disk, PATH, _parse, checksum_path=SUM) == 1
    assert "last written by this program" not in caplog.text
    disk.replace_file(PATH, _value(9))
    assert load_file(disk, PATH, _parse, checksum_path=SUM) == 9
    assert "last written by this program" in caplog.text
