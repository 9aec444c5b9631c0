"""What clients tell brokers of themselves: producer groups, consumer groups, subscriptions."""

from __future__ import annotations

import msgspec

CONSUME_ACTIVELY = "CONSUME_ACTIVELY"
CONSUME_PASSIVELY = "CONSUME_PASSIVELY"
CONSUME_POP = "CONSUME_POP"
BROADCASTING = "BROADCASTING"
CLUSTERING = "CLUSTERING"
CONSUME_FROM_LAST_OFFSET = "CONSUME_FROM_LAST_OFFSET"
CONSUME_FROM_FIRST_OFFSET = "CONSUME_FROM_FIRST_OFFSET"
CONSUME_FROM_TIMESTAMP = "CONSUME_FROM_TIMESTAMP"

# Old clients write these enums as ordinals: position in the tuple.
CONSUME_TYPES = (CONSUME_ACTIVELY, CONSUME_PASSIVELY, CONSUME_POP)
MESSAGE_MODELS = (BROADCASTING, CLUSTERING)
CONSUME_FROM_WHERES = (
    CONSUME_FROM_LAST_OFFSET,
    "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
    "CONSUME_FROM_MIN_OFFSET",
    "CONSUME_FROM_MAX_OFFSET",
    CONSUME_FROM_FIRST_OFFSET,
    CONSUME_FROM_TIMESTAMP,
)

EXPRESSION_TAG = "TAG"
EXPRESSION_SQL92 = "SQL92"
SUB_ALL = "*"


def is_tag_type(expression_type: str | None) -> bool:
    """Whether an expression of this type is one of tags: without a type it is. Source: ExpressionType.isTagType (5.5)."""
    return not expression_type or expression_type == EXPRESSION_TAG


class SubscriptionData(msgspec.Struct, rename="camel"):
    """One topic a consumer group listens to. Source: SubscriptionData (5.3).

    `code_set` holds the Java hash of every tag in `tags_set`; both empty means every message.
    `sub_version` (ms) grows when the client changes the expression.
    """

    topic: str = ""
    sub_string: str = SUB_ALL
    tags_set: list[str] = msgspec.field(default_factory=list)
    code_set: list[int] = msgspec.field(default_factory=list)
    sub_version: int = 0
    expression_type: str = EXPRESSION_TAG
    class_filter_mode: bool = False

    def comparable(self) -> tuple[str, str, str]:
        """Topic, expression type and expression; tags in order, so that `A || B` equals `B || A`."""
        if self.expression_type == EXPRESSION_TAG and self.tags_set:
            return self.topic, self.expression_type, " || ".join(sorted(self.tags_set))
        return self.topic, self.expression_type, self.sub_string


class ConsumerData(msgspec.Struct, rename="camel"):
    group_name: str = ""
    consume_type: str = CONSUME_PASSIVELY
    message_model: str = CLUSTERING
    consume_from_where: str = CONSUME_FROM_LAST_OFFSET
    subscription_data_set: list[SubscriptionData] = msgspec.field(default_factory=list)
    unit_mode: bool = False


class ProducerData(msgspec.Struct, rename="camel"):
    group_name: str = ""


class HeartbeatData(msgspec.Struct, rename="camel"):
    """Source: HeartbeatData (5.3). A `heartbeat_fingerprint` other than 0 marks the V2 form."""

    client_id: str = msgspec.field(name="clientID", default="")
    producer_data_set: list[ProducerData] = msgspec.field(default_factory=list)
    consumer_data_set: list[ConsumerData] = msgspec.field(default_factory=list)
    heartbeat_fingerprint: int = 0
    without_sub: bool = msgspec.field(name="withoutSub", default=False)
