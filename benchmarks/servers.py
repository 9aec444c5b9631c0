"""What is put under load: our broker, the official one with the options its own scripts use (heap made to fit), the floor."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from benchmarks import loadgen
from tests.interop import artifacts
from tests.interop.cluster import HOST, GantryBroker, OfficialBroker, Server, free_port

HEAP = ("-Xms1g", "-Xmx1g", "-XX:MaxDirectMemorySize=1g", "-XX:+UseG1GC", "-XX:G1ReservePercent=25")
TICKS = os.sysconf("SC_CLK_TCK")


def settings(broker: OfficialBroker | GantryBroker, flush: str) -> dict[str, object]:
    """Defaults wherever there is one: only addresses, folders and the flush mode are said."""
    return {
        "brokerName": broker.name,
        "brokerId": 0,
        "brokerIP1": HOST,
        "listenPort": broker.port,
        "storePathRootDir": broker.store,
        "storePathCommitLog": broker.store / "commitlog",
        "flushDiskType": flush,
        "diskMaxUsedSpaceRatio": 95,
    }


class MeasuredGantry(GantryBroker):
    """Our broker, defaults."""

    label = "gantry"

    def __init__(self, folder: Path, flush: str, more: Mapping[str, object] | None = None) -> None:
        super().__init__(folder, "")
        self.settings = {**settings(self, flush), **(more or {})}


class MeasuredPure(MeasuredGantry):
    """Our broker without its compiled core."""

    label = "gantry-python"

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "GANTRY_CORE": "python"}


class MeasuredOfficial(OfficialBroker):
    """The official broker, 1 GiB heap, G1, its default options."""

    label = "official"

    def __init__(self, folder: Path, flush: str) -> None:
        super().__init__(folder, "")
        self.settings = settings(self, flush)

    def command(self) -> list[str]:
        words = super().command()
        java, classpath = words[0], words[words.index("-cp") :]
        return [java, "-server", *HEAP, f"-Duser.home={self.folder}", *classpath]


class MeasuredFloor(Server):
    """The least a broker can do (`floor.c`). It goes to sleep as soon as nothing is there, or looks for more for `spin_us`."""

    kind = label = "floor"
    spin_us = 0

    def __init__(self, folder: Path, flush: str) -> None:
        super().__init__(folder, free_port())
        self._flush = "sync" if flush == "SYNC_FLUSH" else "async"
        self._program = loadgen.compiled(Path(__file__).with_name("floor.c"), folder)

    def command(self) -> list[str]:
        return [str(self._program), str(self.port), "log", str(self.spin_us), self._flush]


class MeasuredAwakeFloor(MeasuredFloor):
    """The same, awake for as long as our broker is."""

    spin_us = 50
    label = f"floor, {spin_us} us"


FLOORS = (MeasuredFloor.label, MeasuredAwakeFloor.label)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def anonymous_kib(pid: int) -> int:
    """Resident memory without mapped file pages."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    return 0


def official_version() -> str:
    return artifacts.SERVER_VERSION
