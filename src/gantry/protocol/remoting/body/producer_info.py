"""Answer to GET_ALL_PRODUCER_INFO."""

from __future__ import annotations

import msgspec


class ProducerInfo(msgspec.Struct, rename="camel"):
    """One connected producer. `remote_ip` is a Java socket address as text, with its leading slash."""

    client_id: str = ""
    remote_ip: str = msgspec.field(name="remoteIP", default="")
    language: str = "OTHER"
    version: int = 0
    last_update_timestamp: int = 0


class ProducerTableInfo(msgspec.Struct, rename="camel"):
    """Group -> its producers."""

    data: dict[str, list[ProducerInfo]] = msgspec.field(default_factory=dict)
