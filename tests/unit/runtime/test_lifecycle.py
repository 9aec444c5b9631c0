"""Starting, stopping, signals, exit status."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from gantry.errors import ConfigError
from gantry.runtime.lifecycle import Lifecycle

_APP = """
import asyncio, sys
from gantry.errors import ConfigError
from gantry.runtime.lifecycle import ExitWith, run_app

class App:
    async def start(self):
        {start}
        return "ready"
    async def stop(self):
        {stop}
        print("stopped", flush=True)

sys.exit(run_app(App))
"""


def _spawn(*, start: str = "pass", stop: str = "pass", **kwargs: object) -> subprocess.Popen[str]:
    source = textwrap.dedent(_APP).format(start=start, stop=stop)
    return subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,  # type: ignore[call-overload]
    )


def _first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_in_order(number: signal.Signals) -> None:
    child = _spawn()
    assert _first_line(child) == "ready\n"
    child.send_signal(number)
    out, err = child.communicate(timeout=20)
    assert (out, child.returncode, err) == ("stopped\n", 0, "")


def test_nohup_is_respected() -> None:
    child = _spawn(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert _first_line(child) == "ready\n"
    child.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=0.3)
    child.send_signal(signal.SIGTERM)
    out, _ = child.communicate(timeout=20)
    assert (out, child.returncode) == ("stopped\n", 0)


@pytest.mark.parametrize(
    ("start", "status", "told"),
    [
        ("raise ConfigError('listenPort=x is not allowed')", 255, "listenPort=x is not allowed\n"),
        ("raise ExitWith(253, 'a slave needs a brokerId above 0')", 253, "a slave needs a brokerId above 0\n"),
        ("raise KeyError('defect')", 255, "start failed: KeyError: 'defect'\n"),
    ],
)
def test_a_failed_start_ends_with_a_sentence(start: str, status: int, told: str) -> None:
    child = _spawn(start=start)
    out, err = child.communicate(timeout=20)
    assert (out, child.returncode) == ("", status)
    assert err.endswith(told)
    if "defect" not in start:
        assert "Traceback" not in err


def test_a_signal_during_the_start_is_obeyed_after_it() -> None:
    child = _spawn(start="print('starting', flush=True); await asyncio.sleep(0.5)")
    assert _first_line(child) == "starting\n"
    child.send_signal(signal.SIGTERM)
    out, _ = child.communicate(timeout=20)
    assert (out, child.returncode) == ("ready\nstopped\n", 0)


def test_a_second_signal_ends_a_hanging_stop() -> None:
    child = _spawn(stop="print('stopping', flush=True); await asyncio.sleep(60)")
    assert _first_line(child) == "ready\n"
    child.send_signal(signal.SIGTERM)
    assert _first_line(child) == "stopping\n"
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=20)
    assert child.returncode == -signal.SIGTERM


def test_a_failed_stop_shows_in_the_status() -> None:
    child = _spawn(stop="raise OSError('disk gone')")
    assert _first_line(child) == "ready\n"
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 1
    assert "stop failed: OSError: disk gone" in err


class Parts:
    """Notes what is started and stopped; a name in `bad` fails."""

    def __init__(self, *bad: str) -> None:
        self.seen: list[str] = []
        self.bad = bad
        self.lifecycle = Lifecycle()
        for name in ("a", "b", "c"):
            self.lifecycle.add(name, start=self._act(f"+{name}"), stop=self._act(f"-{name}"))

    def _act(self, name: str):  # type: ignore[no-untyped-def]
        async def act() -> None:
            self.seen.append(name)
            if name in self.bad:
                raise ConfigError(name)

        return act


async def test_parts_stop_in_reverse() -> None:
    parts = Parts()
    await parts.lifecycle.start()
    await parts.lifecycle.stop()
    await parts.lifecycle.stop()
    assert parts.seen == ["+a", "+b", "+c", "-c", "-b", "-a"]


async def test_a_failed_start_stops_what_was_started() -> None:
    parts = Parts("+b")
    with pytest.raises(ConfigError):
        await parts.lifecycle.start()
    assert parts.seen == ["+a", "+b", "-a"]


async def test_one_part_that_does_not_stop_keeps_no_other_from_it() -> None:
    parts = Parts("-c", "-a")
    await parts.lifecycle.start()
    with pytest.raises(ConfigError, match="-c"):
        await parts.lifecycle.stop()
    assert parts.seen[3:] == ["-c", "-b", "-a"]


async def test_parts_without_start_or_stop() -> None:
    lifecycle = Lifecycle()
    lifecycle.add("nothing")
    await lifecycle.start()
    await lifecycle.stop()
