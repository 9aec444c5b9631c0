"""`gantry dev`: a whole RocketMQ in one process, on a store beside you."""

from __future__ import annotations

import os
import sys

import click

from gantry.cli.embedded import EmbeddedServer, EmbeddedSettings
from gantry.cli.ephemeral import make_ephemeral_dir, remove_tree
from gantry.errors import ConfigError
from gantry.runtime.clock import SystemClock
from gantry.runtime.lifecycle import run_app
from gantry.runtime.logging_setup import set_up_logging
from gantry.runtime.net import AsyncioNet
from gantry.runtime.rng import SystemRng
from gantry.runtime.system_disk import SystemDisk

LOG_BYTES_MAX = 4 * 1024 * 1024
LOG_FILES_MAX = 3


class DevApp:
    """The embedded server on real sockets and files."""

    def __init__(self, settings: EmbeddedSettings, *, disk: SystemDisk, clock: SystemClock, ephemeral: bool) -> None:
        self._settings = settings
        self._disk = disk
        self._clock = clock
        self._ephemeral = ephemeral
        self._server = EmbeddedServer(settings, net=AsyncioNet(), clock=clock, disk=disk, rng=SystemRng())

    async def start(self) -> str:
        """Returns: the lines that say both servers are ready, and how to try them."""
        started_ms = self._clock.monotonic_ms()
        await self._server.start()
        taken_ms = self._clock.monotonic_ms() - started_ms
        for line in self._server.ready_lines:
            print(line)
        address = self._server.name_server_address
        option = "" if address.endswith(":9876") else f" -n {address}"
        print(f'Try: gantry send{option} Hello "first message"    and: gantry tail{option} Hello --from-start')
        where = "in memory, gone at the end" if self._ephemeral else f"in {self._settings.store_dir}"
        return f"gantry dev is ready after {taken_ms} ms, store {where}. Ctrl-C stops it."

    async def stop(self) -> None:
        await self._server.stop()
        if self._ephemeral:
            remove_tree(self._disk, self._settings.store_dir)
        self._disk.close()


@click.command()
@click.option("--store", "store_dir", default="gantry-data", show_default=True, help="Directory that keeps everything.")
@click.option("--ephemeral", is_flag=True, help="Keep everything in memory-backed storage and remove it at the end.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on and to tell clients.")
@click.option("--namesrv-port", default=9876, show_default=True, help="Port of the name server; 0 takes a free one.")
@click.option("--broker-port", default=10911, show_default=True, help="Port of the broker; 0 takes free ones.")
@click.option("-D", "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A broker setting by official name.")
def command(store_dir: str, ephemeral: bool, host: str, namesrv_port: int, broker_port: int, settings: tuple[str, ...]) -> None:
    """Run a name server and a broker in one process.

    Any RocketMQ client can use it under the name server address it prints. Topics are created by the first send.
    """
    disk, clock = SystemDisk(), SystemClock()
    directory = make_ephemeral_dir(disk, SystemRng()) if ephemeral else os.path.abspath(store_dir)
    try:
        set_up_logging("gantry", directory=f"{directory}/logs", bytes_max=LOG_BYTES_MAX, files_max=LOG_FILES_MAX)
        embedded = EmbeddedSettings(
            store_dir=directory,
            host=host,
            namesrv_port=namesrv_port,
            broker_port=broker_port,
            broker=parse_settings(settings),
        )
        status = run_app(lambda: DevApp(embedded, disk=disk, clock=clock, ephemeral=ephemeral))
    except ConfigError as error:
        print(error, file=sys.stderr)
        status = 1
    if ephemeral:
        remove_tree(disk, directory)  # also after a start that failed
    sys.exit(status)


def parse_settings(settings: tuple[str, ...]) -> dict[str, str]:
    """`key=value` texts as a table. Raises: ConfigError for one without `=`."""
    table = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not name.strip():
            raise ConfigError(f"--set {setting!r} has no value; write it as flushDiskType=SYNC_FLUSH")
        table[name.strip()] = value.strip()
    return table
