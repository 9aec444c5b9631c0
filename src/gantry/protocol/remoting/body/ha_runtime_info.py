"""Answer to GET_BROKER_HA_STATUS."""

from __future__ import annotations

import msgspec


class HAClientRuntimeInfo(msgspec.Struct, rename="camel"):
    """How a slave stands to its master. Units: offsets in bytes of the commit log, times in ms since 1970 UTC."""

    master_addr: str | None = None
    transferred_byte_in_second: int = 0
    max_offset: int = 0
    last_read_timestamp: int = 0
    last_write_timestamp: int = 0
    master_flush_offset: int = 0


class HAConnectionRuntimeInfo(msgspec.Struct, rename="camel"):
    """How one slave stands, seen from its master. Units: as above."""

    addr: str = ""
    slave_ack_offset: int = 0
    diff: int = 0
    in_sync: bool = False
    transferred_byte_in_second: int = 0
    transfer_from_where: int = 0


class HARuntimeInfo(msgspec.Struct, rename="camel"):
    master: bool = True
    master_commit_log_max_offset: int = 0
    in_sync_slave_nums: int = 0
    ha_connection_info: list[HAConnectionRuntimeInfo] = msgspec.field(default_factory=list)
    ha_client_runtime_info: HAClientRuntimeInfo = msgspec.field(default_factory=HAClientRuntimeInfo)
