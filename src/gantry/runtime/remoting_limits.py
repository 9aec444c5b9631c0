"""Every bound of the remoting server and client, by name."""

from __future__ import annotations

import msgspec


class RemotingLimits(msgspec.Struct, frozen=True):
    """Units: bytes, ms and counts, as the names say. What happens at the limit stands beside each.

    Source: frame size, idle time and connect time-out are the official defaults; the others are ours.
    """

    frame_bytes_max: int = 16_777_216
    """The length field included. A longer frame closes its connection, from the length alone."""

    header_bytes_max: int = 256 * 1024
    """A longer header closes its connection."""

    connections_max: int = 20_000
    """Of one server. A further connection is closed at once."""

    connections_per_address_max: int = 4_000
    """Of one server, from one host. A further connection is closed at once."""

    in_flight_max: int = 1_024
    """Requests of one connection whose handlers are running. A further one is answered SYSTEM_BUSY."""

    in_flight_bytes_max: int = 32 * 1024 * 1024
    """Bodies of those requests. Above it the connection is not read until some of them are done."""

    write_buffer_bytes_max: int = 512 * 1024
    """Output that the peer has not taken. Above it the connection is neither served nor read, until it is a quarter of
    that; the answer that crosses the bound is sent whole."""

    write_buffer_bytes_abort: int = 64 * 1024 * 1024
    """Above it the connection is closed and its output dropped; must hold several of the largest frames."""

    output_bytes_max: int = 256 * 1024 * 1024
    """Such output of all connections of one server together. Above it, the connection whose peer has taken nothing for longest
    is closed, and so on until it fits."""

    write_stall_ms: int = 60_000
    """A peer that takes nothing for so long, while output waits above the bound, is closed."""

    frame_timeout_ms: int = 60_000
    """A frame that is not whole so long after its first bytes closes its connection."""

    idle_ms: int = 120_000
    """A connection with neither input nor output for so long is closed."""

    pending_max: int = 65_535
    """Requests of ours on one connection that wait for answers. A further one is not sent."""

    connect_timeout_ms: int = 3_000
    """Of a client."""

    sweep_ms: int = 1_000
    """How often the time limits of this table (idle, stall, frame) are looked at."""
