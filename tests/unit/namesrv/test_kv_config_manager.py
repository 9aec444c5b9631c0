"""The key-value table and its file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gantry.errors import DiskFault
from gantry.namesrv import KVConfigManager
from tests.unit.namesrv.rig import InlineDisk


async def test_the_file_has_the_official_shape_and_keeps_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "kvConfig.json"
    manager = KVConfigManager(InlineDisk(), str(path))
    await manager.load()
    await manager.put("ORDER_TOPIC_CONFIG", "t", "broker-a:4;broker-b:4")
    await manager.put("n", "k", "ü")
    assert json.loads(path.read_bytes()) == {
        "configTable": {"ORDER_TOPIC_CONFIG": {"t": "broker-a:4;broker-b:4"}, "n": {"k": "ü"}}
    }
    assert json.loads((tmp_path / "deep" / "kvConfig.json.bak").read_bytes()) == {
        "configTable": {"ORDER_TOPIC_CONFIG": {"t": "broker-a:4;broker-b:4"}}
    }


@pytest.mark.parametrize(
    "content",
    [b'{"configTable":{"n":{"k":"v"}}}', b'{\n\t"configTable":{"n":{"k":"v"}}\n}', b'{"configTable":{n:{k:"v"}}}'],
)
async def test_official_files_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kvConfig.json").write_bytes(content)
    manager = KVConfigManager(InlineDisk(), str(tmp_path / "kvConfig.json"))
    await manager.load()
    assert manager.get("n", "k") == "v"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"configTable":{"n":["x"]}}'])
async def test_a_file_that_does_not_parse_falls_back_to_its_copy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kvConfig.json").write_bytes(content)
    (tmp_path / "kvConfig.json.bak").write_bytes(b'{"configTable":{"n":{"k":"old"}}}')
    manager = KVConfigManager(InlineDisk(), str(tmp_path / "kvConfig.json"))
    await manager.load()
    assert manager.get("n", "k") == "old"


async def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "kvConfig.json"
    manager = KVConfigManager(InlineDisk(), str(path))
    await asyncio.gather(*(manager.put("n", f"k{i}", str(i)) for i in range(20)))
    await asyncio.gather(*(manager.delete("n", f"k{i}") for i in range(10)))
    again = KVConfigManager(InlineDisk(), str(path))
    await again.load()
    assert again.list_by_namespace("n") == {f"k{i}": str(i) for i in range(10, 20)}


async def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    disk = InlineDisk()
    manager = KVConfigManager(disk, str(tmp_path / "kvConfig.json"))
    await manager.put("n", "k", "v")
    disk.fault = DiskFault(path="kvConfig.json", op="sync")
    with pytest.raises(DiskFault):
        await manager.put("n", "k", "w")
    with pytest.raises(DiskFault):
        await manager.put("new", "k", "w")
    with pytest.raises(DiskFault):
        await manager.delete("n", "k")
    assert manager.get("n", "k") == "v"
    assert manager.list_by_namespace("new") is None
