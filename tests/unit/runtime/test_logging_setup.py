"""Log files as operators know them."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gantry.errors import ConfigError
from gantry.runtime.logging_setup import boot_line, escape_control, fail_line, log_directory, set_up_logging

log = logging.getLogger("gantry.test")


@pytest.fixture(autouse=True)
def _restore_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def test_a_line(tmp_path: Path) -> None:
    path = set_up_logging("broker", directory=str(tmp_path / "a" / "b"))
    assert path == str(tmp_path / "a" / "b" / "broker.log")
    log.info("topic %s created", "T")
    log.debug("not shown")
    thread = threading.Thread(target=lambda: log.warning("from a thread"), name="gantry-disk_0")
    thread.start()
    thread.join()
    lines = Path(path).read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO main - topic T created", lines[0])
    assert lines[1].endswith(" WARN gantry-disk_0 - from a thread")
    assert len(lines) == 2


def test_what_comes_from_outside_cannot_forge_a_line(tmp_path: Path) -> None:
    path = set_up_logging("broker", directory=str(tmp_path))
    evil = "T\r\n2024-01-01 00:00:00 INFO main - boot success\x1b[2J\x9b\u2028\0é"
    log.warning("topic %s refused", evil)
    try:
        raise ValueError(evil)
    except ValueError:
        log.exception("request failed")
    text = Path(path).read_text()
    lines = text.split("\n")
    assert not any(line.startswith("2024-01-01") for line in lines)
    assert r"T\r\n2024-01-01 00:00:00 INFO main - boot success\x1b[2J\x9b\u2028\x00é refused" in lines[0]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028]", text)
    assert any(line.startswith("\tTraceback") for line in lines)
    assert any("ValueError" in line for line in lines)


def test_files_are_rotated_and_bounded(tmp_path: Path) -> None:
    set_up_logging("namesrv", directory=str(tmp_path), bytes_max=2000, files_max=2)
    for number in range(200):
        log.info("line %d", number)
    names = sorted(os.listdir(tmp_path))
    assert names == ["namesrv.log", "namesrv.log.1", "namesrv.log.2"]
    assert all(os.path.getsize(tmp_path / name) <= 2000 for name in names)
    assert "line 199" in (tmp_path / "namesrv.log").read_text()


def test_a_second_call_replaces_the_file(tmp_path: Path) -> None:
    set_up_logging("a", directory=str(tmp_path))
    set_up_logging("b", directory=str(tmp_path))
    log.info("hello")
    assert (tmp_path / "a.log").read_text() == ""
    assert "hello" in (tmp_path / "b.log").read_text()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"log file .*broker\.log cannot be written"):
        set_up_logging("broker", directory=str(tmp_path / "file" / "logs"))


def test_directory() -> None:
    assert log_directory({}).endswith("/logs/rocketmqlogs")
    assert log_directory({"ROCKETMQ_LOG_DIR": "/var/log/mq"}) == "/var/log/mq"


def test_boot_and_fail_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = set_up_logging("broker", directory=str(tmp_path))
    boot_line("The broker[a, 127.0.0.1:10911] boot success.")
    fail_line("no\x1b")
    out, err = capsys.readouterr()
    assert out == "The broker[a, 127.0.0.1:10911] boot success.\n"
    assert err == "no\\x1b\n"
    assert "boot success" in Path(path).read_text()


def test_escape() -> None:
    assert escape_control("plain ü €") == "plain ü €"
    assert escape_control("a\tb\\n") == "a\\tb\\n"
