"""The topics every broker has from its first start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.model import TopicConfig, perm_name, topic_validator
from gantry.model.names import reply_topic

if TYPE_CHECKING:
    from ..config import BrokerConfig

SCHEDULE_QUEUE_NUMS = 18
BENCHMARK_QUEUE_NUMS = 1024
CLUSTER_TOPIC_QUEUE_NUMS = 16


def boot_topics(config: BrokerConfig) -> list[TopicConfig]:
    """Source: TopicConfigManager.init (5.3); the two ROCKSDB topics are from 5.5."""

    def topic(name: str, queue_nums: int = 1, perm: int = perm_name.PERM_READ_WRITE) -> TopicConfig:
        return TopicConfig(topic_name=name, read_queue_nums=queue_nums, write_queue_nums=queue_nums, perm=perm)

    read_write = perm_name.PERM_READ_WRITE
    inherit = perm_name.PERM_INHERIT
    cluster, broker = config.broker_cluster_name, config.broker_name
    topics = [topic(topic_validator.SELF_TEST_TOPIC)]
    if config.auto_create_topic_enable:
        topics.append(topic(topic_validator.DEFAULT_TOPIC, config.default_topic_queue_nums, inherit | read_write))
    topics += [
        topic(topic_validator.BENCHMARK_TOPIC, BENCHMARK_QUEUE_NUMS),
        topic(cluster, CLUSTER_TOPIC_QUEUE_NUMS, inherit | read_write if config.cluster_topic_enable else inherit),
        topic(broker, 1, inherit | read_write if config.broker_topic_enable else inherit),
        topic(topic_validator.OFFSET_MOVED_EVENT),
        topic(topic_validator.SCHEDULE_TOPIC, SCHEDULE_QUEUE_NUMS),
    ]
    if config.trace_topic_enable:
        topics.append(topic(config.msg_trace_topic_name))
    topics += [
        topic(reply_topic(cluster)),
        topic(topic_validator.REVIVE_TOPIC_PREFIX + cluster, config.revive_queue_num),
        topic(topic_validator.SYNC_BROKER_MEMBER_PREFIX + broker, 1, inherit),
        topic(topic_validator.TRANS_HALF_TOPIC),
        topic(topic_validator.TRANS_OP_HALF_TOPIC),
        topic(topic_validator.ROCKSDB_TRANS_HALF_TOPIC),
        topic(topic_validator.ROCKSDB_TRANS_OP_HALF_TOPIC),
    ]
    if config.timer_wheel_enable:
        topics.append(topic(topic_validator.TIMER_TOPIC))
    return topics
