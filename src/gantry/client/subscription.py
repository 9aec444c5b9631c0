"""What a consumer asks for: a topic and a filter expression. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gantry._core import java_string_hash
from gantry.errors import ClientError
from gantry.model import MessageExt, SubscriptionData
from gantry.model.heartbeat import EXPRESSION_TAG, SUB_ALL


def build_subscription(topic: str, expression: str = SUB_ALL, *, sub_version: int) -> SubscriptionData:
    """Parse a tag expression: `*` or empty for everything, else tags joined by `||`.

    Units:  sub_version is the ms at which this client last changed the expression; brokers keep the newest.
    Raises: ClientError for an expression with no tag in it.
    Source: FilterAPI.buildSubscriptionData (5.3).
    """
    expression = expression.strip()
    if expression in ("", SUB_ALL):
        return SubscriptionData(topic=topic, sub_string=SUB_ALL, sub_version=sub_version, expression_type=EXPRESSION_TAG)
    tags = sorted({tag.strip() for tag in expression.split("||")} - {""})
    if not tags:
        raise ClientError(f"subscription of {topic}: {expression!r} names no tag; write 'TagA || TagB', or '*' for all")
    return SubscriptionData(
        topic=topic,
        sub_string=expression,
        tags_set=tags,
        code_set=sorted({java_string_hash(tag) for tag in tags}),
        sub_version=sub_version,
        expression_type=EXPRESSION_TAG,
    )


def matching(messages: Sequence[MessageExt], subscription: SubscriptionData) -> list[MessageExt]:
    """The messages whose tag is really subscribed. The broker compares hashes only, and two tags may share one."""
    if not subscription.tags_set or subscription.class_filter_mode:
        return list(messages)
    tags = set(subscription.tags_set)
    return [message for message in messages if message.tags in tags]
