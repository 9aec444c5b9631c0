"""Nothing in the tree turns bytes into objects or code, or hands text to a shell: bytes come in as values, through codecs.

Rules of the linter forbid the same by call; this reads every import and call, also under another name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("src", "tests", "benchmarks", "setup.py")
MODULES = frozenset({"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "jsonpickle", "shelve", "marshal", "yaml", "code"})
CALLS = frozenset({"eval", "exec", "__import__"})
SHELLS = {
    "os": frozenset({"system", "popen"}),
    "subprocess": frozenset({"getoutput", "getstatusoutput"}),
    "asyncio": frozenset({"create_subprocess_shell"}),
}


def forbidden(text: str) -> Iterator[str]:
    """What in a source runs or restores what it reads, with its line."""
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names if alias.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            source = (node.module or "").partition(".")[0]
            names = [source] if source in MODULES and not node.level else []
            names += [alias.name for alias in node.names if alias.name in SHELLS.get(source, ())]
        elif isinstance(node, ast.Name) and node.id in CALLS and isinstance(node.ctx, ast.Load):
            names = [node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [node.attr] if node.attr in SHELLS.get(node.value.id, ()) else []
        elif isinstance(node, ast.keyword) and node.arg == "shell":
            safe = isinstance(node.value, ast.Constant) and not node.value.value
            names = [] if safe else ["shell="]
        yield from (f"line {node.lineno}: {name}" for name in names)


def test_no_source_restores_objects_or_asks_a_shell() -> None:
    files = [path for name in SOURCES for path in ([ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("*.py"))]
    assert len(files) > 300
    found = [f"{path.relative_to(ROOT)}, {place}" for path in files for place in forbidden(path.read_text(encoding="utf-8"))]
    # The examples of the README are run as a reader would run them.
    assert [place for place in found if not place.startswith("tests/e2e/test_readme.py")] == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "import shelve as s",
        "from marshal import loads",
        "def f():\n    from yaml import load",
        "eval(x)",
        "run = exec",
        "subprocess.run(x, shell=True)",
        "subprocess.run(x, shell=flag)",
        "os.system(x)",
        "from os import popen",
        "asyncio.create_subprocess_shell(x)",
    ],
)
def test_each_way_is_told(text: str) -> None:
    assert list(forbidden(text))


@pytest.mark.parametrize(
    "text", ["run([x], shell=False)", "import json", "evaluate(x)", "from .code import table", "platform.system()"]
)
def test_what_does_not_is_not(text: str) -> None:
    assert not list(forbidden(text))
