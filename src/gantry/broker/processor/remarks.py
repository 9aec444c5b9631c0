"""Sentences that several processors answer; clients and scripts know the official beginnings."""

from __future__ import annotations

from gantry.model import TopicConfig, perm_name

FAQ = "https://rocketmq.apache.org/docs/bestPractice/06FAQ"


def suggest(url: str = FAQ) -> str:
    """The official pointer behind a remark. Source: FAQUrl.suggestTodo (5.3)."""
    return f"\nSee {url} for further details."


def topic_not_exist(topic: str) -> str:
    return f"topic[{topic}] not exist, apply first please!{suggest()}"


def kept_otherwise(topic: TopicConfig) -> str:
    return (
        f"the topic[{topic.topic_name}] has {topic.other_keeping}: an official broker keeps it in files not read here. "
        "Consume it with that broker, and give the topic another name here"
    )


def group_not_exist(group: str) -> str:
    return f"subscription group not exist, {group} {suggest()}"


def describe_topic(topic: TopicConfig) -> str:
    """A topic as the official remarks show it. Source: TopicConfig.toString (5.3)."""
    attributes = ", ".join(f"{name}={value}" for name, value in topic.attributes.items())
    return (
        f"TopicConfig [topicName={topic.topic_name}, readQueueNums={topic.read_queue_nums}, "
        f"writeQueueNums={topic.write_queue_nums}, perm={perm_name.perm_text(topic.perm)}, "
        f"topicFilterType={topic.topic_filter_type}, topicSysFlag={topic.topic_sys_flag}, "
        f"order={'true' if topic.order else 'false'}, attributes={{{attributes}}}]"
    )


FILTER_DATA_NOT_EXIST = "The broker's consumer filter data is not exist!Your expression may be wrong!"


def not_supported(expression_type: str) -> str:
    return f"The broker does not support consumer to filter message by {expression_type}"
