"""Attributes of topics and consumer groups: which exist, what they may hold, and how a request changes them.

A request writes `+name=value` to add or change and `-name` to remove; what is kept has the bare names.
Remarks are the official ones: tools show them. Source: AttributeUtil, AttributeParser, TopicAttributes,
SubscriptionGroupAttributes (5.5).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gantry.errors import BrokerError
from gantry.model.topic_config import MESSAGE_TYPE
from gantry.protocol.remoting.codes import ResponseCode

LONG_MAX = 2**63 - 1

MESSAGE_TYPES = ("UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED", "PRIORITY", "LITE")
MIXED = "MIXED"


class Attribute(msgspec.Struct, frozen=True):
    """One attribute. `choices` or `bounds` say what it holds; neither: any text."""

    changeable: bool = True
    choices: tuple[str, ...] = ()
    bounds: tuple[int, int] | None = None

    def verify(self, value: str) -> None:
        """Raises: BrokerError when the value is not one of its."""
        if self.choices and value not in self.choices:
            raise _refused(f"value is not in set: [{', '.join(self.choices)}]")
        if self.bounds is not None:
            low, high = self.bounds
            try:
                number = int(value)
            except ValueError:
                raise _refused(f'For input string: "{value}"') from None
            if not low <= number <= high:
                raise _refused(f"value is not in range({low}, {high})")


TOPIC_ATTRIBUTES: Mapping[str, Attribute] = {
    "queue.type": Attribute(changeable=False, choices=("BatchCQ", "SimpleCQ")),
    "cleanup.policy": Attribute(changeable=False, choices=("DELETE", "COMPACTION")),
    MESSAGE_TYPE: Attribute(choices=MESSAGE_TYPES),
    "reserve.time": Attribute(bounds=(-1, LONG_MAX)),
    "lite.topic.expiration": Attribute(bounds=(-1, 30 * 24 * 60)),
}

_BOOLEAN = ("true", "false")

SUBSCRIPTION_GROUP_ATTRIBUTES: Mapping[str, Attribute] = {
    "priority.factor": Attribute(bounds=(0, 100)),
    "lite.bind.topic": Attribute(),
    "lite.sub.client.quota": Attribute(bounds=(-1, LONG_MAX)),
    "lite.sub.model": Attribute(choices=("Shared", "Exclusive")),
    "lite.sub.reset.offset.exclusive": Attribute(choices=_BOOLEAN),
    "lite.sub.reset.offset.unsubscribe": Attribute(choices=_BOOLEAN),
    "lite.sub.client.max.event.cnt": Attribute(bounds=(10, LONG_MAX)),
    "lite.sub.wildcard": Attribute(),
}


def parse_attributes(text: str | None) -> dict[str, str]:
    """`+a=1,+b=2,-c` as a map that keeps the signs. Raises: BrokerError for anything else."""
    changes: dict[str, str] = {}
    if not text:
        return changes
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals and "+" not in name:
            raise _refused(f"add/alter attribute format is wrong: {name}")
        if not equals and "-" not in name:
            raise _refused(f"delete attribute format is wrong: {name}")
        if name in changes:
            raise _refused(f"key duplication: {name}")
        changes[name] = value
    return changes


def alter_attributes(
    known: Mapping[str, Attribute], current: Mapping[str, str] | None, changes: Mapping[str, str]
) -> dict[str, str]:
    """The attributes after `changes`. `current` None: the topic or group is being made, and only adding makes sense.

    Raises: BrokerError with the official remark; nothing is changed then.
    """
    altered = dict(current or {})
    seen: set[str] = set()
    for signed, value in changes.items():
        sign, name = signed[:1], signed[1:]
        if not name or "+" in name or "-" in name:
            raise _refused("kv string format wrong.")
        if name in seen:
            raise _refused(f"alter duplication key. key: {name}")
        seen.add(name)
        if current is None and sign != "+":
            raise _refused(f"only add attribute is supported while creating topic. key: {name}")
        if sign == "-" and name not in altered:
            raise _refused(f"attempt to delete a nonexistent key: {name}")
        if sign not in ("+", "-"):
            raise _refused(f"wrong format key: {name}")
        attribute = known.get(name)
        if attribute is None:
            raise _refused(f"unsupported key: {name}")
        if current is not None and not attribute.changeable:
            raise _refused(f"attempt to update an unchangeable attribute. key: {name}")
        if sign == "+":
            attribute.verify(value)
            altered[name] = value
        else:
            del altered[name]
    return altered


def _refused(remark: str) -> BrokerError:
    return BrokerError(ResponseCode.SYSTEM_ERROR, remark)
