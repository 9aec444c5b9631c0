"""Plain values every room speaks of: messages, topics, groups, routes, heartbeats. No behaviour beyond themselves."""

from gantry.model.data_version import DataVersion
from gantry.model.heartbeat import ConsumerData, HeartbeatData, ProducerData, SubscriptionData
from gantry.model.message import Host, Message, MessageExt, MessageQueue, StoreMessage
from gantry.model.route import BrokerData, QueueData, TopicRouteData
from gantry.model.subscription_group_config import SimpleSubscriptionData, SubscriptionGroupConfig
from gantry.model.topic_config import TopicConfig

__all__ = [
    "BrokerData",
    "ConsumerData",
    "DataVersion",
    "HeartbeatData",
    "Host",
    "Message",
    "MessageExt",
    "MessageQueue",
    "ProducerData",
    "QueueData",
    "SimpleSubscriptionData",
    "StoreMessage",
    "SubscriptionData",
    "SubscriptionGroupConfig",
    "TopicConfig",
    "TopicRouteData",
]
