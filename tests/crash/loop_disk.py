"""A file system of its own (ext4 on a loop device) that can lose its power under a running process."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import time
from pathlib import Path

from tests.interop.cluster import Server

SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN: _IOR('X', 125, __u32)."""

NO_LOG_FLUSH = 2
"""What is not in the journal and on the disk yet is gone: a power cut, not an orderly end."""

UNMOUNT_TIMEOUT_S = 20


class NoLoopDisk(Exception):
    """This machine or this user cannot mount one; the text says why."""


def mount_namespace() -> subprocess.Popen[bytes]:
    """A process in a mount namespace of its own; it ends with communicate(), and with the test process: its input closes.

    Raises: NoLoopDisk, FileNotFoundError.
    """
    made = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", "echo made && exec cat >/dev/null"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert made.stdout is not None
    if made.stdout.readline() != b"made\n":
        made.communicate()
        raise NoLoopDisk("no mount namespace can be made here")
    return made


class LoopDisk:
    """An ext4 file system in a file, mounted in a mount namespace of its own; `path` leads there from every process.

    Mounted where all the others are, it would be copied into each namespace that another test makes meanwhile, live on there
    after its unmount, and so come back without power at the next mount.
    """

    def __init__(self, folder: Path, mib: int) -> None:
        """Raises: NoLoopDisk."""
        if os.geteuid() != 0:
            raise NoLoopDisk("mounting a file system needs root")
        self._image, self._mountpoint = folder / "disk.img", folder / "disk"
        self._mountpoint.mkdir()
        with self._image.open("wb") as file:
            file.truncate(mib << 20)
        try:
            _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self._image))
            self._namespace = mount_namespace()
        except FileNotFoundError as error:
            raise NoLoopDisk(f"{error.filename} is not installed") from None
        self.path = Path(f"/proc/{self._namespace.pid}/root{self._mountpoint}")
        try:
            self.mount()
        except NoLoopDisk:
            self._namespace.communicate()
            raise

    def mount(self) -> None:
        """Mounts it; the journal is replayed. Raises: NoLoopDisk."""
        try:
            self._run_inside("mount", "-o", "loop", str(self._image), str(self._mountpoint))
        except subprocess.CalledProcessError as error:
            raise NoLoopDisk(f"no loop device can be mounted here: {error.stderr.strip()}") from None

    def cut_power(self) -> None:
        """From now on nothing reaches the disk and every access fails, until the next mount."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Waits for the last process to let go."""
        limit = time.monotonic() + UNMOUNT_TIMEOUT_S
        while True:
            try:
                self._run_inside("umount", str(self._mountpoint))
            except subprocess.CalledProcessError as error:
                if time.monotonic() > limit:
                    raise AssertionError(f"{self.path} is still in use: {error.stderr.strip()}") from None
                time.sleep(0.05)
            else:
                return

    def close(self) -> None:
        if os.path.ismount(self.path):
            self.unmount()
        self._namespace.communicate()
        self._image.unlink(missing_ok=True)

    def _run_inside(self, *words: str) -> None:
        _run("nsenter", "-m", "-t", str(self._namespace.pid), *words)


def stop_the_machine(broker: Server, disk: LoopDisk) -> None:
    """Stops the process, cuts the power of its disk, and ends it.

    In this order: a sync that is under way while ext4 shuts down may end without an error and without having synced (seen
    with Linux 6.18, on files of a test program), and a machine without power answers nobody.
    """
    os.kill(broker.pid, signal.SIGSTOP)
    limit = time.monotonic() + 10
    while _main_thread_state(broker.pid) != "T":
        assert time.monotonic() < limit, "the broker does not stop"
        time.sleep(0.0005)
    disk.cut_power()
    broker.kill()


def _main_thread_state(pid: int) -> str:
    """The letter of /proc: T is stopped."""
    return Path(f"/proc/{pid}/task/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)
