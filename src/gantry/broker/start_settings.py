"""What the settings of a broker mean for its start: what is refused, what an operator is told, which addresses they name."""

from __future__ import annotations

import ipaddress

from gantry.errors import ConfigError
from gantry.runtime.address_source import NamesrvAddressPlan, choose_namesrv_addresses, http_endpoint

from .config import ASYNC_MASTER, SLAVE, SYNC_MASTER, BrokerConfig
from .name_servers import system_lookup

# Settings of parts this version does not have. Taking them in silence would promise what is not kept.
_NOT_OFFERED = (
    "enableControllerMode",
    "enableDLegerCommitLog",
    "enableSlaveActingMaster",
    "authenticationEnabled",
    "authorizationEnabled",
    "aclEnable",
)


def check_settings(config: BrokerConfig) -> None:
    """Refuses what this version cannot do, and settles what roles decide. Raises: ConfigError."""
    if config.broker_role == SLAVE:
        raise ConfigError(
            "brokerRole=SLAVE is not offered by this version: it has no replication yet; start a master (ASYNC_MASTER), "
            "or keep the slave on an official broker"
        )
    for name in _NOT_OFFERED:
        if config.unknown.get(name, "false").strip().lower() == "true":
            raise ConfigError(f"{name}=true is not offered by this version; remove it to start the broker")
    if config.broker_role in (ASYNC_MASTER, SYNC_MASTER):
        config.broker_id = 0


def promises(config: BrokerConfig) -> list[str]:
    """What an operator should know of the chosen modes before the first message."""
    lines = []
    if config.flush_disk_type == "ASYNC_FLUSH":
        lines.append(
            "flushDiskType=ASYNC_FLUSH: a power cut may take acknowledged messages of the last "
            f"{config.flush_interval_commit_log} ms, or of the last {config.flush_commit_log_thorough_interval} ms "
            f"while less than {config.flush_commit_log_least_pages * 4} KiB wait; SYNC_FLUSH keeps them"
        )
    if config.broker_role == SYNC_MASTER:
        if config.replicas_awaited > 1:
            lines.append(
                f"brokerRole=SYNC_MASTER waits for {config.replicas_awaited - 1} slave(s), and this version accepts none: "
                "sends are stored and answered SLAVE_NOT_AVAILABLE (11); inSyncReplicas=1 waits for nobody"
            )
        else:
            lines.append("brokerRole=SYNC_MASTER with inSyncReplicas=1 waits for no slave: acknowledged messages have one copy")
    return lines


def name_server_plan(config: BrokerConfig, explicit: str | None) -> NamesrvAddressPlan:
    """Where the name servers are: option, setting, environment, address server. Raises: ConfigError."""
    endpoint = None
    if config.fetch_namesrv_addr_by_address_server:
        endpoint = http_endpoint(config.rmq_address_server_domain, config.rmq_address_server_sub_group)
    return choose_namesrv_addresses(explicit=explicit, configured=config.namesrv_addr, endpoint=endpoint)


async def resolved(host: str) -> str:
    """The address of a host that may be given by name: stored records hold addresses. Raises: ConfigError."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        found = await system_lookup(host)
    except OSError as error:
        raise ConfigError(f"brokerIP1={host} is neither an address nor a name that resolves: {error}") from error
    # IPv4 first: a record with IPv6 hosts is longer, and old clients do not read it.
    return min(found, key=lambda address: ":" in address)


def ip_or_loopback(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return "127.0.0.1"
