"""What README shows is what happens."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from gantry.testing.cluster import LocalCluster

README = Path(__file__).parents[2] / "README.md"


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


async def test_the_first_python_example_prints_its_message(tmp_path: Path) -> None:
    code = python_blocks()[0]
    async with LocalCluster() as cluster:
        assert "127.0.0.1:9876" in code
        script = tmp_path / "example.py"
        script.write_text(code.replace("127.0.0.1:9876", cluster.name_servers))
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    lines = out.decode().splitlines()
    assert lines[0].startswith("SendStatus.SEND_OK")
    assert lines[1:] == ["drinks one coffee"]


async def test_the_example_for_tests_runs() -> None:
    namespace: dict[str, object] = {}
    exec(python_blocks()[1], namespace)
    await namespace["test_order_is_announced"]()  # type: ignore[operator]


def test_every_command_named_exists() -> None:
    from gantry.cli.main import COMMANDS

    named = set(re.findall(r"[`/]gantry ([a-z]+)", README.read_text())) - {"gantry"}
    assert named == set(COMMANDS)
