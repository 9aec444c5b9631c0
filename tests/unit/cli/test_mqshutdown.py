"""Finding the processes to end, and what is said about them."""

from __future__ import annotations

import pytest

from gantry.cli import mqshutdown
from gantry.runtime import processes


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/x/bin/python", "-m", "gantry.cli.mqnamesrv"], True),
        (["python3.11", "-m", "gantry.cli.mqnamesrv", "-c", "a.properties"], True),
        (["/usr/bin/pypy3", "-X", "dev", "-u", "-m", "gantry.cli.mqnamesrv"], True),
        (["/x/bin/python", "/x/bin/mqnamesrv", "-n", "a:9876"], True),
        (["Python", "-W", "error", "/x/bin/mqnamesrv"], True),
        (["/x/bin/python", "-m", "gantry.cli.mqbroker"], False),
        (["/x/bin/python", "-m", "gantry.cli.mqbroker", "-c", "mqnamesrv"], False),
        (["/x/bin/python", "-c", "gantry.cli.mqnamesrv"], False),
        (["/x/bin/python", "-m", "pytest", "mqnamesrv"], False),
        (["/bin/sh", "mqnamesrv"], False),
        (["vi", "mqnamesrv"], False),
        (["grep", "mqnamesrv"], False),
        (["python"], False),
        ([""], False),
        ([], False),
    ],
)
def test_only_a_python_that_runs_the_command_is_found(argv: list[str], expected: bool) -> None:
    assert processes.runs_command(argv, "mqnamesrv") is expected


def run(monkeypatch: pytest.MonkeyPatch, found: list[int], fate: dict[int, type[OSError]], what: str = "namesrv") -> int:
    def terminate(pid: int) -> None:
        if pid in fate:
            raise fate[pid]

    monkeypatch.setattr(processes, "find_command", lambda name: found)
    monkeypatch.setattr(processes, "terminate", terminate)
    return mqshutdown.shutdown(what)


def test_the_words_are_the_official_ones(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, [], {}, "broker") == 1
    assert capsys.readouterr().out == "No mqbroker running.\n"
    assert run(monkeypatch, [7], {}) == 0
    assert capsys.readouterr().out == ("The mqnamesrv(7) is running...\nSend shutdown request to mqnamesrv(7) OK\n")


def test_every_process_is_asked_even_when_one_may_not_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, [1, 2, 3], {1: PermissionError, 2: ProcessLookupError}) == 1
    captured = capsys.readouterr()
    assert "belongs to another user" in captured.err
    assert "Send shutdown request to mqnamesrv(3) OK" in captured.out


@pytest.mark.parametrize("arguments", [[], ["everything"], ["broker", "namesrv"]])
def test_anything_else_is_answered_with_the_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["mqshutdown", *arguments])
    with pytest.raises(SystemExit) as ended:
        mqshutdown.main()
    assert ended.value.code == 1
    assert capsys.readouterr().out.startswith("Usage: mqshutdown broker | namesrv")
