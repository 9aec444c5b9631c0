"""Addresses as text: `host:port`, lists of them, and the address this machine shows to others."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Iterable

from gantry.errors import ConfigError

try:
    import fcntl
except ImportError:  # pragma: no cover - not a POSIX system
    fcntl = None  # type: ignore[assignment]

_SIOCGIFFLAGS = 0x8913
_SIOCGIFADDR = 0x8915
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_IFF_POINTOPOINT = 0x10
_INTERNAL_IPV4 = tuple(ipaddress.ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


def split_address(text: str) -> tuple[str, int]:
    """`host:port` (an IPv6 host in brackets or bare) as host without brackets, and port.

    Raises: ConfigError when there is no host or no port in 0 .. 65535.
    """
    host, colon, port_text = text.strip().rpartition(":")
    host = host.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not colon or not host or not (port_text.isascii() and port_text.isdigit()) or int(port_text) > 65535:
        raise ConfigError(f"{text!r} is no address: host:port with a port from 0 to 65535 is expected")
    return host, int(port_text)


def format_address(host: str, port: int) -> str:
    """`host:port`, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def parse_address_list(text: str) -> list[str]:
    """`a:9876;b:9876` as a list, each once, in order; empty parts, `http://` before and `/` behind a part are dropped.

    Raises: ConfigError for a part that is no address.
    """
    addresses: dict[str, None] = {}
    for part in text.split(";"):
        part = part.strip()
        for scheme in ("http://", "https://"):
            part = part.removeprefix(scheme)
        part = part.rstrip("/")
        if part:
            addresses[format_address(*split_address(part))] = None
    return list(addresses)


def format_address_list(addresses: Iterable[str]) -> str:
    return ";".join(addresses)


def local_ip() -> str:
    """The address to show to others when none is configured; an IPv6 address comes in brackets.

    The first IPv4 address outside the private ranges, else the last private one, of interfaces that are up and neither
    loopback, bridge nor point to point; else what the default route would use; else 127.0.0.1.
    Source: NetworkUtil.getLocalInetAddress (5.3).
    """
    addresses = [ip for ip in _interface_ipv4s() if not ipaddress.ip_address(ip).is_loopback]
    for ip in addresses:
        if not any(ipaddress.ip_address(ip) in network for network in _INTERNAL_IPV4):
            return ip
    if addresses:
        return addresses[-1]
    for family, probe in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        # Connecting a datagram socket sends nothing; it only makes the kernel choose the source address.
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((probe, 9))
            ip = str(sock.getsockname()[0])
            return f"[{ip}]" if ":" in ip else ip
    return "127.0.0.1"


def host_name() -> str:
    """This machine's name, as the default of brokerName; `DEFAULT_BROKER` when the system knows none."""
    return socket.gethostname() or "DEFAULT_BROKER"


def _interface_ipv4s() -> list[str]:
    if fcntl is None or not os.path.isdir("/sys/class/net"):  # pragma: no cover - not Linux
        return []
    found: list[str] = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            if os.path.exists(f"/sys/class/net/{name}/bridge"):
                continue
            request = struct.pack("256s", name.encode()[:15])
            try:
                flags = struct.unpack_from("H", fcntl.ioctl(sock.fileno(), _SIOCGIFFLAGS, request), 16)[0]
                if not flags & _IFF_UP or flags & (_IFF_LOOPBACK | _IFF_POINTOPOINT):
                    continue
                reply = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # an interface without an IPv4 address
            found.append(socket.inet_ntoa(reply[20:24]))
    return found
