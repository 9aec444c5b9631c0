"""Free ports on this machine, for tests that start processes (inside one process, listen on port 0 instead)."""

from __future__ import annotations

import contextlib
import socket


def free_ports(count: int, *, host: str = "127.0.0.1") -> list[int]:
    """Ports nobody listens on now. All are held until the last is found, so they differ; another process may still take
    one before it is used."""
    with contextlib.ExitStack() as held:
        return [_bound(held, host, 0) for _ in range(count)]


def free_broker_port(*, host: str = "127.0.0.1") -> int:
    """A port for a broker: it, the fast port two below it and the replication port one above it are free."""
    for _ in range(200):
        with contextlib.ExitStack() as held:
            port = _bound(held, host, 0)
            if not 3 <= port <= 65_534:
                continue
            try:
                _bound(held, host, port - 2)
                _bound(held, host, port + 1)
            except OSError:
                continue
            return port
    raise OSError(f"no three free ports in a row on {host}")


def _bound(held: contextlib.ExitStack, host: str, port: int) -> int:
    sock = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    sock.bind((host, port))
    return int(sock.getsockname()[1])
