"""The disk that the power cuts use: what other tests do meanwhile must not keep it alive without power."""

from __future__ import annotations

import subprocess

from tests.crash.loop_disk import LoopDisk, mount_namespace


def test_a_namespace_made_meanwhile_does_not_hold_the_disk(disk: LoopDisk) -> None:
    disk.unmount()
    disk.mount()
    (disk.path / "kept").write_text("kept")
    subprocess.run(["sync", "-f", str(disk.path / "kept")], check=True)
    other = mount_namespace()
    try:
        (disk.path / "lost").write_text("lost")
        disk.cut_power()
        disk.unmount()
        disk.mount()
        assert (disk.path / "kept").read_text() == "kept"
        assert not (disk.path / "lost").exists()
        (disk.path / "new").write_text("new")
    finally:
        other.communicate()
