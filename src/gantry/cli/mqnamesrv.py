"""mqnamesrv: the name server as a process, with the options, lines and exit statuses of the official one."""

from __future__ import annotations

import logging
import sys

import click

from gantry.cli.serving import CONTEXT, print_config, read_properties_file, refuse, start_logging
from gantry.errors import ConfigError
from gantry.namesrv import NamesrvConfig, NamesrvController
from gantry.runtime.address import format_address
from gantry.runtime.clock import SystemClock
from gantry.runtime.lifecycle import run_app
from gantry.runtime.net import AsyncioNet
from gantry.runtime.system_disk import SystemDisk

log = logging.getLogger(__name__)


class NamesrvApp:
    """The name server on real sockets and files."""

    def __init__(self, config: NamesrvConfig) -> None:
        self._disk = SystemDisk()
        self._controller = NamesrvController(config, net=AsyncioNet(), clock=SystemClock(), disk=self._disk)

    async def start(self) -> str:
        """Returns: the line that says the port is open, in the official words, which scripts wait for."""
        config = self._controller.config
        for name, text in config.to_properties(mask_secrets=True).items():
            log.info("%s=%s", name, text)
        self._controller.load_every_request()
        await self._controller.start()
        address = format_address(config.bind_address, config.listen_port)
        return f"The Name Server boot success. serializeType=JSON, address {address}"

    async def stop(self) -> None:
        await self._controller.stop()
        self._disk.close()


def make_config(config_file: str | None) -> NamesrvConfig:
    """Defaults, then the file; what is changed at run time is saved to that file. Raises: ConfigError."""
    if config_file is None:
        return NamesrvConfig()
    config = NamesrvConfig.from_properties(read_properties_file(config_file))
    config.config_store_path = config_file
    return config


@click.command(context_settings=CONTEXT)
@click.option("-c", "--configFile", "config_file", metavar="FILE", help="Name server config properties file.")
@click.option("-n", "--namesrvAddr", "namesrv_addr", metavar="ADDRESSES", help="Accepted; a name server asks no other.")
@click.option("-p", "--printConfigItem", "print_items", is_flag=True, help="Print all config items, and end.")
def command(config_file: str | None, namesrv_addr: str | None, print_items: bool) -> None:
    """Start a name server: brokers register with it, clients ask it for routes."""
    if not print_items:
        start_logging("namesrv")
    try:
        config = make_config(config_file)
    except ConfigError as error:
        sys.exit(refuse(error))
    if config_file is not None:
        click.echo(f"load config properties file OK, {config_file}")
    if print_items:
        print_config(config)
        return
    sys.exit(run_app(lambda: NamesrvApp(config)))


def main() -> None:
    command(prog_name="mqnamesrv")


if __name__ == "__main__":
    main()
