"""What a consumer asks for: a topic and a filter expression. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gantry._core import java_string_hash
from gantry.errors import ClientError, FilterExpressionError
from gantry.model import MessageExt, SubscriptionData
from gantry.model.heartbeat import EXPRESSION_SQL92, EXPRESSION_TAG, SUB_ALL
from gantry.model.topic_validator import validate_topic

from .message_selector import MessageSelector


def subscription_to(topic: str, expression: str | MessageSelector, *, sub_version: int) -> SubscriptionData:
    """As build_subscription(), for a topic that a user names. Raises: ClientError also for a name that is not allowed."""
    remark = validate_topic(topic)
    if remark is not None:
        raise ClientError(remark)
    return build_subscription(topic, expression, sub_version=sub_version)


def build_subscription(topic: str, expression: str | MessageSelector = SUB_ALL, *, sub_version: int) -> SubscriptionData:
    """A subscription by tags (`*` or empty for everything, else tags joined by `||`), or by a SQL92 expression.

    Units:  sub_version is the ms at which this client last changed the expression; brokers keep the newest.
    Raises: ClientError for an expression with no tag in it, or one of SQL92 that cannot be read.
    Source: FilterAPI.buildSubscriptionData, FilterAPI.build (5.3).
    """
    if isinstance(expression, MessageSelector):
        if expression.expression_type == EXPRESSION_SQL92:
            return _by_sql(topic, expression.expression, sub_version)
        if expression.expression_type != EXPRESSION_TAG:
            raise ClientError(f"subscription of {topic}: {expression.expression_type} is no type of expressions")
        expression = expression.expression
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


def _by_sql(topic: str, expression: str, sub_version: int) -> SubscriptionData:
    # Most clients never need it.
    from gantry.protocol.filter.sql92 import compile_sql

    try:
        compile_sql(expression)
    except FilterExpressionError as error:
        raise ClientError(f"subscription of {topic}: {error}") from None
    return SubscriptionData(topic=topic, sub_string=expression, sub_version=sub_version, expression_type=EXPRESSION_SQL92)


def matching(messages: Sequence[MessageExt], subscription: SubscriptionData) -> list[MessageExt]:
    """The messages whose tag is really subscribed. The broker compares hashes only, and two tags may share one."""
    if not subscription.tags_set or subscription.class_filter_mode:
        return list(messages)
    tags = set(subscription.tags_set)
    return [message for message in messages if message.tags in tags]
