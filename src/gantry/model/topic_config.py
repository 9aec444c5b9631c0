"""TopicConfig: how many queues a topic has on a broker and who may use them."""

from __future__ import annotations

import msgspec

from gantry.model import perm_name, sys_flag

SINGLE_TAG = "SINGLE_TAG"
MULTI_TAG = "MULTI_TAG"
MESSAGE_TYPE = "message.type"
OTHER_KEEPING = {"queue.type": "BatchCQ", "cleanup.policy": "COMPACTION"}


class TopicConfig(msgspec.Struct, rename="camel"):
    """One topic on one broker. Source: TopicConfig (5.3).

    `topic_filter_type` is SINGLE_TAG or MULTI_TAG; `topic_sys_flag` holds the bits of `sys_flag.TOPIC_*`.
    """

    topic_name: str = ""
    read_queue_nums: int = 16
    write_queue_nums: int = 16
    perm: int = perm_name.PERM_READ_WRITE
    topic_filter_type: str = SINGLE_TAG
    topic_sys_flag: int = 0
    order: bool = False
    attributes: dict[str, str] = msgspec.field(default_factory=dict)

    def copy(self) -> TopicConfig:
        return msgspec.structs.replace(self, attributes=dict(self.attributes))

    @property
    def message_type(self) -> str:
        """The kind of messages the topic is made for, an official name in capitals."""
        return self.attributes.get(MESSAGE_TYPE, "UNSPECIFIED").upper()

    @property
    def other_keeping(self) -> str | None:
        """The attribute by which an official broker keeps this topic in files that are not read here; None for the usual."""
        for name, value in OTHER_KEEPING.items():
            if self.attributes.get(name) == value:
                return f"{name}={value}"
        return None

    @property
    def is_unit(self) -> bool:
        return bool(self.topic_sys_flag & sys_flag.TOPIC_UNIT)
