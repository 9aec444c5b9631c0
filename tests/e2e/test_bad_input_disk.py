"""A disk that is full, and a store that lost bytes: nothing acknowledged is lost, nothing is hidden, nothing dies."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.raw_peer import PULL, QUERY_OFFSET, SEND, UPDATE_OFFSET, Answer, Peer, pull_fields, send_fields
from tests.e2e.shell import wait_until
from tests.interop.cluster import GantryBroker, ServerFailed

MIB = 1024 * 1024
BODY = os.urandom(20_000)
SMALL_FILES = {
    "mappedFileSizeCommitLog": MIB,
    "mappedFileSizeConsumeQueue": 6_000,
    "maxHashSlotNum": 1_000,
    "maxIndexNum": 4_000,
}
TOPIC = "DiskTopic"


@cache
def mount_problem() -> str | None:
    """Why this machine cannot give a process a file system of its own; None when it can."""
    if sys.platform != "linux" or shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return "needs Linux with unshare and nsenter (util-linux)"
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"mounting failed, root is needed: {tried.stderr.strip()}"


class SmallDisk:
    """A file system of a few MiB in a mount namespace of its own. `inside` is its root, seen from here."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        folder.mkdir()
        self._holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size={size} tmpfs '{folder}' && echo mounted && exec sleep 600"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "mounted\n"
        self.inside = Path(f"/proc/{self._holder.pid}/root{folder}")

    def entering(self, command: list[str], working: Path) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", f"--wd={working}", *command]

    def fill(self, name: str, leave: int = 0) -> Path:
        """A file that takes all space but `leave` bytes."""
        path = self.inside / name
        with path.open("wb", buffering=0) as file:
            while os.statvfs(self.inside).f_bavail * 4096 > leave:
                try:
                    file.write(bytes(64 * 1024))
                except OSError:
                    break
        return path

    def close(self) -> None:
        self._holder.send_signal(signal.SIGKILL)
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


class BrokerOnSmallDisk(GantryBroker):
    """Its store lies on the small disk, its configuration and logs beside it."""

    def __init__(self, folder: Path, disk: SmallDisk, **settings: Any) -> None:
        self.disk = disk
        super().__init__(folder, "", store=disk.folder / "store", settings={**SMALL_FILES, **settings})

    def command(self) -> list[str]:
        return self.disk.entering(super().command(), self.folder)


class Sender:
    """Sends numbered messages and remembers which were acknowledged."""

    def __init__(self, address: str) -> None:
        self.acknowledged: list[int] = []
        self.refused: list[int] = []
        self._count = 0
        self.connect(address)

    def connect(self, address: str) -> None:
        self.peer = Peer(address)

    def send(self) -> Answer:
        self._count += 1
        # Every second one takes the long way.
        properties = f"{'UNIQ_KEY' if self._count % 2 else 'KEYS'}\x01n{self._count:06d}\x02"
        answer = self.peer.ask(SEND, send_fields(TOPIC, properties=properties), b"<%06d>" % self._count + BODY)
        (self.acknowledged if answer.code == 0 else self.refused).append(self._count)
        return answer

    def send_until_refused(self) -> Answer:
        while len(self.acknowledged) < 5_000:
            answer = self.send()
            if answer.code:
                return answer
        raise AssertionError("the disk was never full")

    def check(self) -> None:
        """Everything acknowledged is there, nothing refused is."""
        found: list[int] = []
        offset = 0
        while True:
            answer = self.peer.ask(PULL, pull_fields(TOPIC, offset=offset))
            if answer.code:
                break
            found += [int(number) for number in re.findall(rb"<(\d{6})>", answer.body)]
            offset = int(answer.fields["nextBeginOffset"])
        assert answer.code == 19, answer
        assert found == self.acknowledged

    def offset(self) -> str:
        fields = {"consumerGroup": "attack-consumers", "topic": TOPIC, "queueId": 0}
        return self.peer.ask(QUERY_OFFSET, fields).fields["offset"]

    def commit(self, offset: int) -> int:
        fields = {"consumerGroup": "attack-consumers", "topic": TOPIC, "queueId": 0, "commitOffset": offset}
        return self.peer.ask(UPDATE_OFFSET, fields).code


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    problem = mount_problem()
    if problem is not None:
        pytest.skip(problem)
    disk = SmallDisk(tmp_path / "disk", 24 * MIB)
    yield disk
    disk.close()


@pytest.mark.root
@pytest.mark.parametrize("flush", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_a_full_disk_refuses_sends_serves_the_rest_and_recovers_by_itself(tmp_path: Path, disk: SmallDisk, flush: str) -> None:
    # Retention looks rarely here: what is seen is the disk's own word, in the middle of a write.
    settings = {"flushDiskType": flush, "cleanFileForciblyEnable": "false", "cleanResourceInterval": 600_000}
    with BrokerOnSmallDisk(tmp_path / "broker", disk, **settings) as broker:
        sender = Sender(broker.address)
        sender.send()
        ballast = disk.fill("ballast", leave=5 * MIB)
        answer = sender.send_until_refused()
        assert len(sender.acknowledged) > 100
        assert answer.code == 14
        assert "the broker's disk is full" in answer.remark
        assert re.search(r"Now: the disk is full: \w+ of \S+ failed: No space left on device", answer.remark), answer.remark
        rest = disk.fill("rest")
        for _ in range(6):
            assert sender.send().code == 14
        new = sender.peer.ask(SEND, send_fields("NewTopic"), b"x")
        assert new.code == 14
        assert new.remark.startswith("topic[NewTopic] cannot be created now, its file is not written: ")

        sender.check()
        assert sender.commit(7) == 0
        assert sender.offset() == "7"

        rest.unlink()
        ballast.unlink()
        wait_until(lambda: sender.send().code == 0, lambda: "sends are still refused", 20)
        for _ in range(60):
            assert sender.send().code == 0
        assert sender.peer.ask(SEND, send_fields("NewTopic"), b"x").code == 0
        sender.check()

        assert broker.stop() == 0
        broker.start()
        sender.connect(broker.address)
        sender.check()
        assert sender.offset() == "7"
        log = (broker.folder / "logs" / "rocketmqlogs" / "broker.log").read_text()
        assert "there is space on the disk again, the store takes messages" in log
        assert "Traceback" not in log


@pytest.mark.root
def test_a_disk_above_the_warning_level_refuses_sends_until_it_is_below(tmp_path: Path, disk: SmallDisk) -> None:
    settings = {"cleanFileForciblyEnable": "false", "cleanResourceInterval": 200}
    with BrokerOnSmallDisk(tmp_path / "broker", disk, **settings) as broker:
        sender = Sender(broker.address)
        assert sender.send().code == 0
        ballast = disk.fill("ballast", leave=1 * MIB)
        wait_until(lambda: sender.send().code != 0, lambda: "sends are still taken", 20)
        answer = sender.send()
        assert answer.code == 14
        assert re.search(r"Now: the disk is 9\d% full, messages are refused above 90%", answer.remark)
        sender.check()
        ballast.unlink()
        wait_until(lambda: sender.send().code == 0, lambda: "sends are still refused", 20)
        sender.check()


@pytest.mark.root
def test_a_kill_while_the_disk_is_full_loses_nothing(tmp_path: Path, disk: SmallDisk) -> None:
    settings = {"cleanFileForciblyEnable": "false", "cleanResourceInterval": 600_000}
    with BrokerOnSmallDisk(tmp_path / "broker", disk, **settings) as broker:
        sender = Sender(broker.address)
        sender.send()
        ballast = disk.fill("ballast", leave=5 * MIB)
        sender.send_until_refused()
        rest = disk.fill("rest")
        broker.kill()
        # Recovery may have to write before it can serve; then it says so.
        problem = start_problem(broker)
        assert problem is None or re.search(r"\w+ of \S+ failed: No space left on device", problem)
        broker.kill()
        rest.unlink()
        ballast.unlink()
        broker.start()
        sender.connect(broker.address)
        assert sender.send().code == 0
        sender.check()


def start_problem(broker: GantryBroker) -> str | None:
    try:
        broker.start()
    except ServerFailed as error:
        return str(error)
    return None


# -- damage -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three log files and more, stopped cleanly: all of it is synced."""
    with GantryBroker(tmp_path_factory.mktemp("store-maker"), "", settings=SMALL_FILES) as broker:
        sender = Sender(broker.address)
        for _ in range(130):
            assert sender.send().code == 0
        assert broker.stop() == 0
    return broker.store


@pytest.fixture
def damaged(tmp_path: Path, stopped_store: Path) -> GantryBroker:
    """A broker on a copy of it, not started."""
    shutil.copytree(stopped_store, tmp_path / "store")
    return GantryBroker(tmp_path / "broker", "", store=tmp_path / "store", settings=SMALL_FILES)


def synced(broker: GantryBroker) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((broker.store / "gantry" / "syncedOffset.json").read_text())
    return state


def log_file(broker: GantryBroker, offset: int) -> tuple[Path, int]:
    return broker.store / "commitlog" / f"{offset - offset % MIB:020d}", offset % MIB


def overwrite(path: Path, position: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        file.write(data)


def refusal(broker: GantryBroker) -> str:
    """What the start says; it must refuse, and say it in a sentence."""
    began = time.monotonic()
    with pytest.raises(ServerFailed) as caught:
        broker.start()
    text = str(caught.value)
    assert "ended with 255" in text
    assert "Traceback" not in text
    assert time.monotonic() - began < 30
    return text


def test_a_damaged_record_below_the_synced_offset_stops_the_start(damaged: GantryBroker) -> None:
    state = synced(damaged)
    path, position = log_file(damaged, state["lastRecordOffset"])
    overwrite(path, position + 100, b"\xde\xad\xbe\xef")
    before = path.read_bytes()
    said = refusal(damaged)
    assert f"the commit log is damaged at physical offset {state['lastRecordOffset']} in {path}" in said
    assert f"everything below {state['syncedOffset']} was synced; the store is not opened. Restore the file" in said
    assert path.read_bytes() == before, "damage is not cut away"


def test_zeros_below_the_synced_offset_stop_the_start(damaged: GantryBroker) -> None:
    path, position = log_file(damaged, synced(damaged)["lastRecordOffset"])
    overwrite(path, position - 5_000, bytes(MIB - position + 5_000))
    assert "the store is not opened" in refusal(damaged)


def test_a_missing_log_file_stops_the_start(damaged: GantryBroker) -> None:
    log_file(damaged, MIB)[0].unlink()
    assert "is missing; the store is not opened" in refusal(damaged)


def test_missing_newest_log_files_stop_the_start(damaged: GantryBroker) -> None:
    last, _ = log_file(damaged, synced(damaged)["lastRecordOffset"])
    for path in sorted((damaged.store / "commitlog").iterdir()):
        if path.name >= last.name:
            path.unlink()
    said = refusal(damaged)
    assert f"the files of the commit log end at {int(last.name)}" in said
    assert "Restore the missing files" in said


def test_a_log_file_of_another_length_stops_the_start(damaged: GantryBroker) -> None:
    path, _ = log_file(damaged, MIB)
    os.truncate(path, 5_000)
    assert f"{path} has 5000 bytes, mappedFileSizeCommitLog says 1048576; the store is not opened" in refusal(damaged)


def test_a_lost_log_stops_the_start(damaged: GantryBroker) -> None:
    shutil.rmtree(damaged.store / "commitlog")
    assert "the commit log is gone" in refusal(damaged)


def test_metadata_that_cannot_be_read_stops_the_start(damaged: GantryBroker) -> None:
    for path in (damaged.store / "config").glob("topics.json*"):
        path.write_bytes(b'{"topicConfigTable":{')
    said = refusal(damaged)
    assert f"neither {damaged.store}/config/topics.json nor" in said
    assert "repair these files or move them away" in said


def test_damage_that_is_repaired_costs_nothing(damaged: GantryBroker, stopped_store: Path) -> None:
    path, position = log_file(damaged, synced(damaged)["lastRecordOffset"])
    whole = path.read_bytes()
    overwrite(path, position, bytes(100))
    refusal(damaged)
    path.write_bytes(whole)
    with damaged as broker, Peer(broker.address) as peer:
        answer = peer.ask(PULL, pull_fields(TOPIC, offset=129))
        assert (answer.code, answer.fields["maxOffset"]) == (0, "130")
