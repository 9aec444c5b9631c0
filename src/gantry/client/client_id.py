"""The name under which brokers know one client."""

from __future__ import annotations

DEFAULT_INSTANCE_NAME = "DEFAULT"


def build_client_id(*, ip: str, instance_name: str, unit_name: str | None = None) -> str:
    """`ip@instance[@unit]`. Two live clients of one group must never share it: rebalance would count them as one.

    Source: ClientConfig.buildMQClientId (5.3).
    """
    client_id = f"{ip}@{instance_name}"
    return f"{client_id}@{unit_name}" if unit_name else client_id


def unique_instance_name(*, pid: int, monotonic_ns: int, salt: str = "") -> str:
    """`pid#ns`, as the official client replaces the name DEFAULT; the salt tells apart two made in one tick of the clock."""
    return f"{pid}#{monotonic_ns}{salt}"
