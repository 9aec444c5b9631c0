"""Reads every import of the package: rooms may only use the rooms above them, and the world only through the doors."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import gantry

PACKAGE = Path(gantry.__file__).parent

_VALUES = {"errors", "model"}
_PROTOCOL = _VALUES | {"_core", "protocol"}
_RUNTIME = _PROTOCOL | {"runtime"}
_BROKER = _RUNTIME | {"store", "broker"}
_ADMIN = _RUNTIME | {"client", "admin"}

ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "model": {"errors"},
    "_core": _VALUES,
    "protocol": _VALUES | {"_core"},
    "runtime": _PROTOCOL,
    "store": _RUNTIME,
    "client": _RUNTIME,
    "namesrv": _RUNTIME,
    "controller": _RUNTIME,
    "broker": _RUNTIME | {"store"},
    "proxy": _BROKER | {"client"},
    "admin": _RUNTIME | {"client"},
    "console": _ADMIN,
    "cli": _BROKER | _ADMIN | {"namesrv", "controller", "proxy", "console"},
    "testing": _BROKER | _ADMIN | {"namesrv", "controller", "proxy", "console", "cli"},
}
"""Room -> rooms it may import, besides itself. Nothing imports testing."""

BEHIND_DOORS = {"runtime", "testing", "cli"}
"""runtime is the doors; testing builds others of the same kind; cli is the outermost rim, before any door exists."""

FORBIDDEN_MODULES = {
    "_thread", "concurrent", "fcntl", "mmap", "multiprocessing", "queue", "random", "sched", "secrets", "select",
    "selectors", "shutil", "signal", "socket", "socketserver", "ssl", "subprocess", "tempfile", "threading",
    "urllib.request", "http.client", "uuid", "uvloop", "pickle", "shelve", "marshal", "pathlib", "glob", "io.open",
}  # fmt: skip

TIME_ALLOWED = {"localtime": 1, "gmtime": 1, "strftime": 2, "mktime": 1, "struct_time": 1}
"""Calendar arithmetic on a given time, with the arguments that make it given."""

OS_ALLOWED = {"environ", "path", "sep", "cpu_count", "sysconf", "getpid", "strerror", "fspath"}
OS_PATH_ALLOWED = {
    "join", "dirname", "basename", "normpath", "isabs", "split", "splitext", "expanduser", "commonpath", "relpath",
}  # fmt: skip
ASYNCIO_FORBIDDEN = {
    "open_connection", "start_server", "open_unix_connection", "start_unix_server", "create_subprocess_exec",
    "create_subprocess_shell", "to_thread", "wait_for", "timeout", "timeout_at", "run",
}  # fmt: skip
LOOP_FORBIDDEN = {
    "call_later", "call_at", "run_in_executor", "create_connection", "create_server", "sock_recv", "sock_sendall",
    "add_reader", "add_writer", "add_signal_handler",
}  # fmt: skip
DATETIME_NOW = {"now", "utcnow", "today"}


def _room_of(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] != "gantry" or len(parts) < 2:
        return None
    return "cli" if parts[1] == "__main__" else parts[1]


def _imports(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything imported; for `from a import b` both a and a.b."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, name
            for alias in node.names:
                yield node.lineno, f"{name}.{alias.name}"


def direction_faults(source: str, module: str, *, is_package: bool = False) -> list[str]:
    room = _room_of(module)
    if room is None:
        return []
    if room not in ROOMS:
        return [f"{module}: {room} is in no row of the table of rooms"]
    faults = []
    for line, name in _imports(ast.parse(source), module, is_package=is_package):
        other = _room_of(name)
        if other is None or other == room or other not in ROOMS:
            continue
        if other not in ROOMS[room]:
            faults.append(f"{module}:{line}: {room} must not import {other} ({name})")
    return sorted(set(faults))


def door_faults(source: str, module: str, *, is_package: bool = False) -> list[str]:
    if _room_of(module) in BEHIND_DOORS:
        return []
    tree = ast.parse(source)
    faults = []
    for line, name in _imports(tree, module, is_package=is_package):
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            if ".".join(parts[:length]) in FORBIDDEN_MODULES:
                faults.append(f"{module}:{line}: {'.'.join(parts[:length])} goes past the doors of gantry.runtime")
                break
        if parts[0] == "time" and len(parts) > 1:
            faults.append(f"{module}:{line}: {name}: import time itself, so that its calls can be told apart")
        if parts[0] == "os" and len(parts) > 1 and parts[1] not in OS_ALLOWED:
            faults.append(f"{module}:{line}: {name} goes past the doors of gantry.runtime")
        if parts[0] == "asyncio" and len(parts) > 1 and parts[1] in ASYNCIO_FORBIDDEN | {"sleep"}:
            faults.append(f"{module}:{line}: {name} goes past the doors of gantry.runtime")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            told = _attribute_fault(node)
        elif isinstance(node, ast.Call):
            told = _call_fault(node)
        else:
            continue
        if told:
            faults.append(f"{module}:{node.lineno}: {told} goes past the doors of gantry.runtime")
    return sorted(set(faults))


def _attribute_fault(node: ast.Attribute) -> str | None:
    value, name = node.value, node.attr
    if isinstance(value, ast.Name) and value.id == "time" and name not in TIME_ALLOWED:
        return f"time.{name}"
    if isinstance(value, ast.Name) and value.id == "os" and name not in OS_ALLOWED:
        return f"os.{name}"
    if (
        isinstance(value, ast.Attribute)
        and value.attr == "path"
        and isinstance(value.value, ast.Name)
        and value.value.id == "os"
        and name not in OS_PATH_ALLOWED
    ):
        return f"os.path.{name}"
    if isinstance(value, ast.Name) and value.id == "asyncio" and name in ASYNCIO_FORBIDDEN:
        return f"asyncio.{name}"
    return None


def _call_fault(node: ast.Call) -> str | None:
    called = node.func
    if isinstance(called, ast.Name):
        return "open()" if called.id == "open" else None
    if not isinstance(called, ast.Attribute):
        return None
    owner = called.value
    owner_name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    if owner_name == "time" and len(node.args) < TIME_ALLOWED.get(called.attr, 0):
        return f"time.{called.attr}() of now"
    if owner_name == "asyncio" and called.attr == "sleep":
        zero = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
        return None if zero else "asyncio.sleep()"
    if owner_name == "asyncio" and called.attr == "wait" and any(k.arg == "timeout" for k in node.keywords):
        return "asyncio.wait(timeout=)"
    if owner_name in ("datetime", "date") and called.attr in DATETIME_NOW:
        return f"datetime.{called.attr}()"
    from_loop = owner_name in ("loop", "_loop") or (
        isinstance(owner, ast.Call)
        and isinstance(owner.func, ast.Attribute)
        and owner.func.attr in ("get_running_loop", "get_event_loop")
    )
    if from_loop and called.attr in LOOP_FORBIDDEN | {"time"}:
        return f"loop.{called.attr}()"
    return None


def _modules() -> list[tuple[str, Path, bool]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["gantry", *path.relative_to(PACKAGE).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        if is_package:
            parts.pop()
        found.append((".".join(parts), path, is_package))
    return found


def test_the_tree_is_found() -> None:
    names = {name for name, _, _ in _modules()}
    assert {"gantry.errors", "gantry.runtime.disk", "gantry.protocol.remoting.frame"} <= names


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_rooms_import_only_rooms_above_them(room: str) -> None:
    faults = []
    for name, path, is_package in _modules():
        if _room_of(name) == room:
            faults += direction_faults(path.read_text(), name, is_package=is_package)
    assert not faults, "\n" + "\n".join(faults)


def test_every_module_is_in_a_room() -> None:
    strangers = {name for name, _, _ in _modules() if name != "gantry" and _room_of(name) not in ROOMS}
    assert not strangers


@pytest.mark.parametrize("room", sorted(set(ROOMS) - BEHIND_DOORS))
def test_the_world_is_reached_through_the_doors_only(room: str) -> None:
    faults = []
    for name, path, is_package in _modules():
        if _room_of(name) == room:
            faults += door_faults(path.read_text(), name, is_package=is_package)
    assert not faults, "\n" + "\n".join(faults)


# -- the reader itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source", "count"),
    [
        ("gantry.protocol.x", "from gantry.store import y", 1),
        ("gantry.protocol.x", "from gantry import store", 1),
        ("gantry.protocol.x", "import gantry.store.commit_log", 1),
        ("gantry.protocol.a.x", "from ...store import y", 1),
        ("gantry.protocol.a.x", "from ..b import y", 0),
        ("gantry.protocol.a.x", "from ... import errors", 0),
        ("gantry.broker.x", "from gantry.store import y", 0),
        ("gantry.broker.x", "from gantry.client import y", 1),
        ("gantry.broker.x", "from gantry.testing import y", 1),
        ("gantry.broker.x", "if TYPE_CHECKING:\n    from gantry.namesrv import y", 1),
        ("gantry.broker.x", "def f():\n    import gantry.proxy", 1),
        ("gantry.cli.x", "from gantry.broker import y", 0),
        ("gantry.cli.x", "from gantry.testing import y", 1),
        ("gantry.attic.x", "import os", 1),
    ],
)
def test_direction_reader(module: str, source: str, count: int) -> None:
    assert len({fault.partition(" (")[0] for fault in direction_faults(source, module)}) == count


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("import time\ntime.time()", True),
        ("import time\nclock = time.monotonic", True),
        ("from time import monotonic", True),
        ("import time\ntime.localtime(5)", False),
        ("import time\ntime.localtime()", True),
        ("import time\ntime.strftime('%Y')", True),
        ("import time\ntime.strftime('%Y', t)", False),
        ("import os.path", False),
        ("from os import path", False),
        ("from os import rename", True),
        ("import os\nos.environ.get('A')", False),
        ("import os\nos.path.join('a')", False),
        ("import os\nos.path.exists('a')", True),
        ("import os\nos.unlink('a')", True),
        ("open('a')", True),
        ("disk.open('a')", False),
        ("import asyncio\nawait_ = asyncio.sleep(0)", False),
        ("import asyncio\nawait_ = asyncio.sleep(1)", True),
        ("from asyncio import sleep", True),
        ("import asyncio\nasyncio.wait_for(x, 1)", True),
        ("import asyncio\nasyncio.wait(x, timeout=1)", True),
        ("import asyncio\nasyncio.get_running_loop().call_later(1, f)", True),
        ("import asyncio\nasyncio.get_running_loop().call_soon(f)", False),
        ("import asyncio\nasyncio.get_running_loop().create_future()", False),
        ("from urllib.request import urlopen", True),
        ("from urllib.parse import quote", False),
        ("from concurrent.futures import Future", True),
        ("from datetime import datetime\ndatetime.now()", True),
        ("from datetime import datetime\ndatetime.fromtimestamp(1)", False),
        ("import random", True),
        ("from socket import socket", True),
        ("import uuid", True),
    ],
)
def test_door_reader(source: str, bad: bool) -> None:
    assert bool(door_faults(textwrap.dedent(source), "gantry.broker.x")) is bad
    assert not door_faults(source, "gantry.runtime.x")
