"""Tag expressions: `*`, empty, or tags joined by `||`."""

from __future__ import annotations

from gantry._core import java_string_hash
from gantry.errors import RemoteProtocolError
from gantry.model.heartbeat import EXPRESSION_TAG, SUB_ALL, SubscriptionData

EXPRESSION_LENGTH_MAX = 64 * 1024


def build_subscription(
    topic: str, expression: str | None, expression_type: str | None = None, *, sub_version: int = 0
) -> SubscriptionData:
    """A subscription from its expression.

    Only TAG is taken apart here; another type keeps its text for the filter that reads it.
    Raises: RemoteProtocolError for an expression that holds separators but no tag, is longer than the bound, or is empty
            although its type is not TAG.
    Source: FilterAPI.buildSubscriptionData (5.3).
    """
    text = expression if expression else SUB_ALL
    if len(text) > EXPRESSION_LENGTH_MAX:
        raise RemoteProtocolError(f"subscription of {len(text)} characters, more than {EXPRESSION_LENGTH_MAX}")
    kind = expression_type or EXPRESSION_TAG
    if kind != EXPRESSION_TAG and not expression:
        raise RemoteProtocolError(f"Expression can't be null! {kind}")
    data = SubscriptionData(topic=topic, sub_string=text, sub_version=sub_version, expression_type=kind)
    if kind != EXPRESSION_TAG or text.strip() == SUB_ALL:
        if kind == EXPRESSION_TAG:
            data.sub_string = SUB_ALL
        return data
    tags = [tag for tag in (part.strip() for part in text.split("||")) if tag]
    if not tags:
        raise RemoteProtocolError(f"subscription expression {text[:64]!r} for topic {topic} names no tag")
    data.tags_set = sorted(set(tags))
    data.code_set = [java_string_hash(tag) for tag in data.tags_set]
    return data


def tags_match(subscription: SubscriptionData, tags_code: int) -> bool:
    """Whether a queue entry with this hash may belong to the subscription (equal hashes of other tags pass too)."""
    return not subscription.code_set or tags_code in subscription.code_set
