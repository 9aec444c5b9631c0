"""mqbroker: the broker as a process, with the options, lines and exit statuses of the official one."""

from __future__ import annotations

import os
import sys

import click

from gantry.broker import BrokerConfig, BrokerController
from gantry.cli.serving import CONTEXT, print_config, read_properties_file, refuse, start_logging
from gantry.errors import ConfigError
from gantry.runtime.address_source import ENVIRONMENT_KEY
from gantry.runtime.clock import SystemClock
from gantry.runtime.lifecycle import ExitWith, run_app
from gantry.runtime.logging_setup import escape_control
from gantry.runtime.loop import may_stay_awake
from gantry.runtime.net import AsyncioNet
from gantry.runtime.rng import SystemRng
from gantry.runtime.system_disk import SystemDisk

EXIT_SLAVE_WITHOUT_ID = 253
"""Status -3 of the official broker: a slave needs a brokerId above 0."""

IMPORTANT = (
    "namesrvAddr",
    "listenPort",
    "brokerIP1",
    "brokerName",
    "brokerClusterName",
    "brokerId",
    "autoCreateTopicEnable",
    "autoCreateSubscriptionGroup",
    "msgTraceTopicName",
    "traceTopicEnable",
    "rejectTransactionMessage",
    "fetchNameSrvAddrByDnsLookup",
    "fetchNamesrvAddrByAddressServer",
    "storePathRootDir",
    "storePathCommitLog",
    "flushIntervalCommitLog",
    "deleteWhen",
    "fileReservedTime",
    "deleteFileBatchMax",
    "maxTransferBytesOnMessageInMemory",
    "maxTransferCountOnMessageInMemory",
    "maxTransferBytesOnMessageInDisk",
    "maxTransferCountOnMessageInDisk",
    "accessMessageInMemoryMaxRatio",
    "messageIndexEnable",
    "haMasterAddress",
    "brokerRole",
    "flushDiskType",
    "cleanFileForciblyEnable",
    "totalReplicas",
    "inSyncReplicas",
    "minInSyncReplicas",
)
"""What -m prints. Source: fields marked ImportantField in BrokerConfig and MessageStoreConfig (5.3)."""


class BrokerApp:
    """The broker on real sockets and files."""

    def __init__(self, config: BrokerConfig, name_servers: str | None) -> None:
        if config.is_slave and config.broker_id <= 0:
            raise ExitWith(EXIT_SLAVE_WITHOUT_ID, "Slave's brokerId must be > 0")
        self._controller = BrokerController(
            config,
            net=AsyncioNet(),
            clock=SystemClock(),
            disk=SystemDisk(),
            rng=SystemRng(),
            explicit_name_servers=name_servers,
            busy_poll=may_stay_awake(),
        )

    async def start(self) -> str:
        self._controller.load_every_request()
        return await self._controller.start()

    async def stop(self) -> None:
        await self._controller.stop()


def make_config(config_file: str | None) -> BrokerConfig:
    """Defaults, then the file; what is changed at run time is saved to that file. Raises: ConfigError."""
    if config_file is None:
        return BrokerConfig()
    config = BrokerConfig.from_properties(read_properties_file(config_file))
    config.broker_config_path = config_file
    return config


@click.command(context_settings=CONTEXT)
@click.option("-c", "--configFile", "config_file", metavar="FILE", help="Broker config properties file.")
@click.option(
    "-n",
    "--namesrvAddr",
    "name_servers",
    metavar="ADDRESSES",
    help="Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876'.",
)
@click.option("-p", "--printConfigItem", "print_items", is_flag=True, help="Print all config items, and end.")
@click.option("-m", "--printImportantConfig", "print_important", is_flag=True, help="Print important config items, and end.")
def command(config_file: str | None, name_servers: str | None, print_items: bool, print_important: bool) -> None:
    """Start a broker: producers send to it, consumers pull from it."""
    if not (print_items or print_important):
        start_logging("broker")
    try:
        config = make_config(config_file)
        # Shown by -p and GET_BROKER_CONFIG, as the official broker does.
        config.namesrv_addr = name_servers or config.namesrv_addr or os.environ.get(ENVIRONMENT_KEY, "")
    except ConfigError as error:
        sys.exit(refuse(error))
    if print_items:
        print_config(config)
        return
    if print_important:
        shown = config.to_properties(mask_secrets=True)
        for name in IMPORTANT:
            click.echo(f"{name}={escape_control(shown[name])}")
        return
    sys.exit(run_app(lambda: BrokerApp(config, name_servers)))


def main() -> None:
    command(prog_name="mqbroker")


if __name__ == "__main__":
    main()
