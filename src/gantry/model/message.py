"""Messages as users send them, as consumers receive them, and as the store is asked to keep them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from gantry.model import message_const

Host = tuple[str, int]


class MessageQueue(msgspec.Struct, frozen=True, order=True, rename="camel"):
    """One queue of a topic on one broker; sorts by topic, broker, queue as the official client does."""

    topic: str = ""
    broker_name: str = ""
    queue_id: int = 0


@dataclass(slots=True, kw_only=True)
class Message:
    """A message a user wants to send.

    `topic` and `body` are required; `tags`, `keys` and `delay_time_level` live in `properties` under official names.
    Units: `flag` is the user's own 32-bit number, never read by the system.
    """

    topic: str
    body: bytes
    flag: int = 0
    properties: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, topic: str, body: bytes, *, tags: str | None = None, keys: str | list[str] | None = None) -> Message:
        """A message with its tag and its keys (several keys are joined by a space, as the protocol has it)."""
        message = cls(topic=topic, body=body)
        if tags is not None:
            message.tags = tags
        if keys is not None:
            message.keys = keys if isinstance(keys, str) else message_const.KEY_SEPARATOR.join(keys)
        return message

    def get(self, name: str) -> str | None:
        return self.properties.get(name)

    @property
    def tags(self) -> str | None:
        return self.properties.get(message_const.TAGS)

    @tags.setter
    def tags(self, value: str) -> None:
        self.properties[message_const.TAGS] = value

    @property
    def keys(self) -> str | None:
        return self.properties.get(message_const.KEYS)

    @keys.setter
    def keys(self, value: str) -> None:
        self.properties[message_const.KEYS] = value

    @property
    def message_group(self) -> str | None:
        """Messages of one group keep their order: they go to the same queue (the sharding key of the official clients)."""
        return self.properties.get(message_const.SHARDING_KEY)

    @message_group.setter
    def message_group(self, value: str) -> None:
        self.properties[message_const.SHARDING_KEY] = value

    @property
    def delay_time_level(self) -> int:
        return int(self.properties.get(message_const.DELAY_TIME_LEVEL, "0"))

    @delay_time_level.setter
    def delay_time_level(self, level: int) -> None:
        self.properties[message_const.DELAY_TIME_LEVEL] = str(level)

    def delay_for_ms(self, delay_ms: int) -> None:
        """Ask for delivery so many ms after the broker got it; the broker's precision (1 s) may be added, nothing is early."""
        self.properties[message_const.TIMER_DELAY_MS] = str(delay_ms)

    def deliver_at_ms(self, time_ms: int) -> None:
        """Ask for delivery at a time of the broker's wall clock, ms since 1970 UTC."""
        self.properties[message_const.TIMER_DELIVER_MS] = str(time_ms)

    @property
    def wait_store_msg_ok(self) -> bool:
        return self.properties.get(message_const.WAIT_STORE_MSG_OK, "true") == "true"


@dataclass(slots=True, kw_only=True)
class MessageExt(Message):
    """A message as it came out of a store.

    Units: times in ms since 1970 UTC; `physical_offset` in bytes of the commit log; `queue_offset` in entries;
    `store_size` is the record's whole length in bytes. `body` is as stored unless the reader decompressed it.
    `msg_id` is the sender's unique id where there is one, else `offset_msg_id`.
    """

    queue_id: int = 0
    queue_offset: int = 0
    physical_offset: int = 0
    store_size: int = 0
    sys_flag: int = 0
    body_crc: int = 0
    born_timestamp: int = 0
    born_host: Host = ("0.0.0.0", 0)
    store_timestamp: int = 0
    store_host: Host = ("0.0.0.0", 0)
    reconsume_times: int = 0
    prepared_transaction_offset: int = 0
    msg_id: str = ""
    offset_msg_id: str = ""
    broker_name: str = ""


class StoreMessage(NamedTuple):
    """One message as the store is asked to append it (official name: MessageExtBrokerInner).

    `properties` is the encoded property string, stored as it is. Hosts are textual IPv4 or IPv6 with a port; their
    kind decides the sysFlag bits and is set by the record codec.
    """

    topic: str
    queue_id: int
    body: bytes | memoryview
    properties: bytes = b""
    flag: int = 0
    sys_flag: int = 0
    born_timestamp: int = 0
    born_host: Host = ("0.0.0.0", 0)
    store_host: Host = ("0.0.0.0", 0)
    reconsume_times: int = 0
    prepared_transaction_offset: int = 0
    wait_store_ok: bool = True
