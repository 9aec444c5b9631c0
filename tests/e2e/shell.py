"""A shell to type lines into, as an operator would, with a home directory of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0
"""How long a line may take on a machine that is busy with other tests; on one at rest all are done in a second."""

ISOLATE = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
"""A network and a process table of its own: every port is free, and nobody else's processes are seen."""

_marks = itertools.count(1)


@cache
def isolation_problem() -> str | None:
    """Why this machine cannot give a shell its own network and processes; None when it can."""
    if sys.platform != "linux" or shutil.which("unshare") is None or shutil.which("ip") is None:
        return "needs Linux with unshare (util-linux) and ip (iproute2)"
    tried = subprocess.run([*ISOLATE, "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"unshare failed, root is needed: {tried.stderr.strip()}"


class Shell:
    """`sh` with HOME in `home`. Lines run one after the other; what runs in the background prints into the same output.

    The end of the block ends every process started in it.
    """

    def __init__(self, home: Path, *, isolated: bool = False) -> None:
        self.home = home
        self._isolated = isolated
        self.output: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        env = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            # The wrappers would find .venv or python3 by themselves; the tests' own Python may be neither.
            "GANTRY_PYTHON": sys.executable,
        }
        self._process = subprocess.Popen(
            [*(ISOLATE if isolated else ()), "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=home,
            env=env,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if isolated:
            self.run("ip link set lo up")

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *exc: object) -> None:
        # The shell leads a session that holds all it started. The first process of a process table of its own takes no
        # SIGTERM, and everything there ends with it.
        if not self._isolated:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(5)
        assert self._process.stdin is not None
        self._process.stdin.close()

    def run(self, line: str, *, status: int | None = 0, timeout_s: float = DEADLINE_S) -> str:
        """Types one line and waits for it; returns what was printed meanwhile. `status` None: any will do."""
        mark = f"--mark-{next(_marks)}--"
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\necho {mark} $?\n")
        self._process.stdin.flush()
        printed: list[str] = []
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                text = self._lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"{line!r} did not end in {timeout_s} s; printed:\n" + "\n".join(printed)) from None
            before, found, after = text.partition(mark)
            if found:
                if before:
                    printed.append(before)
                seen = int(after)
                break
            printed.append(text)
        out = "\n".join(printed)
        assert status is None or seen == status, f"{line!r} ended with {seen}, not {status}:\n{out}"
        return out

    def gantry(self, arguments: str, *, status: int | None = 0) -> str:
        """Runs `gantry ARGUMENTS` in the shell."""
        return self.run(f"{sys.executable} -m gantry.cli.main {arguments}", status=status)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output.append(line.rstrip("\n"))
            self._lines.put(line.rstrip("\n"))


def wait_until(done: Callable[[], bool], what: Callable[[], str], timeout_s: float = DEADLINE_S) -> None:
    """Polls; on the deadline the text of `what` says what was there instead."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what()}")
        time.sleep(0.02)


def wait_for_text(path: Path, text: str, shell: Shell, timeout_s: float = DEADLINE_S) -> str:
    """Waits for a line of a file; returns that line."""

    def lines() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    wait_until(
        lambda: any(text in line for line in lines()),
        lambda: f"{text!r} in {path}; it has\n{chr(10).join(lines()[-20:])}\nprinted:\n{chr(10).join(shell.output[-40:])}",
        timeout_s,
    )
    return next(line for line in lines() if text in line)
