"""Other processes of this machine: which of them run one of our commands, and asking them to end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import PurePath


def find_command(name: str) -> list[int]:
    """Process ids of all that run a command of ours (`mqnamesrv`), by whomever they were started; never this process."""
    return sorted(pid for pid, argv in _all_processes() if pid != os.getpid() and runs_command(argv, name))


def runs_command(argv: Sequence[str], name: str) -> bool:
    """Whether a process with these arguments is a Python that runs the command, as module or as installed script.

    A shell that is about to start it, an editor that has its file open and a search for its name are not.
    """
    if len(argv) < 2 or not PurePath(argv[0]).name.lower().startswith(("python", "pypy")):
        return False
    arguments = list(argv[1:])
    while arguments and arguments[0].startswith("-") and arguments[0] not in ("-m", "-c"):
        # Options of the interpreter; of those before a script only these two take a value of their own.
        del arguments[: 2 if arguments[0] in ("-W", "-X") else 1]
    if len(arguments) >= 2 and arguments[0] == "-m":
        return arguments[1] == f"gantry.cli.{name}"
    return bool(arguments) and PurePath(arguments[0]).name == name


def terminate(pid: int) -> None:
    """Ask a process to stop (SIGTERM). Raises: ProcessLookupError, PermissionError."""
    os.kill(pid, signal.SIGTERM)


def _all_processes() -> Iterator[tuple[int, list[str]]]:
    if os.path.isdir("/proc/self"):
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/cmdline", "rb") as file:
                        data = file.read()
                except OSError:
                    continue  # it has ended meanwhile, or is hidden from us
                yield int(entry), data.decode(errors="replace").rstrip("\0").split("\0")
        return
    # Not Linux: arguments with blanks in them come apart here, which the commands looked for do not have.
    listing = subprocess.run(["ps", "-axo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    for line in listing.splitlines():
        pid, _, args = line.strip().partition(" ")
        if pid.isdigit():
            yield int(pid), args.split()
