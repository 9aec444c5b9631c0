"""What must hold of a pull before the compiled engine may answer it; the slow parts are asked once and remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gantry.errors import RemoteProtocolError
from gantry.model import SubscriptionData, SubscriptionGroupConfig, TopicConfig, perm_name, sys_flag
from gantry.model.heartbeat import is_tag_type
from gantry.protocol.filter import build_subscription

from ..consumer_filter import tag_codes
from ..subscription.subscription_group_manager import FORBIDDEN_READ_BIT

if TYPE_CHECKING:
    from ..context import BrokerContext

CODES_MAX = 16
"""Tags of a subscription that the engine compares one by one."""

OWN_SUBSCRIPTION = sys_flag.PULL_SUBSCRIPTION
SUSPEND = sys_flag.PULL_SUSPEND
COMMIT_OFFSET = sys_flag.PULL_COMMIT_OFFSET


class PullRule(NamedTuple):
    """What one group may read of one topic. Good as long as the three values are still those that their owners have.

    `codes` are hashes of tags, empty for every message.
    """

    topic: TopicConfig
    group: SubscriptionGroupConfig
    subscription: SubscriptionData
    codes: tuple[int, ...]


def pull_rule(broker: BrokerContext, group_name: str, topic_name: str, own: SubscriptionData | None) -> PullRule | None:
    """The rule for a group and a topic; `own` is the subscription that came with the pull, None to ask the heartbeats.

    None: the processors are to decide.
    """
    topic = broker.topics.table.get(topic_name)
    group = broker.subscriptions.table.get(group_name)
    if topic is None or group is None or not perm_name.is_readable(topic.perm) or topic.other_keeping:
        return None
    subscription = own
    if own is None:
        info = broker.consumers.group_info(group_name)
        if info is None or broker.subscriptions.is_forbidden(group_name, topic_name, FORBIDDEN_READ_BIT):
            return None
        subscription = info.subscription(topic_name)
    if subscription is None or not is_tag_type(subscription.expression_type):
        return None
    codes = tag_codes(subscription)
    if len(codes) > CODES_MAX:
        return None
    return PullRule(topic, group, subscription, tuple(codes))


def own_subscription(topic: str, expression: str | None, expression_type: str | None, version: int) -> SubscriptionData | None:
    """The subscription that came with a pull, None when it cannot be read."""
    try:
        return build_subscription(topic, expression, expression_type, sub_version=version)
    except RemoteProtocolError:
        return None
