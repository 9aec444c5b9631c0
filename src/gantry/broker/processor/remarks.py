"""Sentences that several processors answer; clients and scripts know the official beginnings."""

from __future__ import annotations

FAQ = "https://rocketmq.apache.org/docs/bestPractice/06FAQ"


def suggest(url: str = FAQ) -> str:
    """The official pointer behind a remark. Source: FAQUrl.suggestTodo (5.3)."""
    return f"\nSee {url} for further details."


def topic_not_exist(topic: str) -> str:
    return f"topic[{topic}] not exist, apply first please!{suggest()}"


def group_not_exist(group: str) -> str:
    return f"subscription group not exist, {group} {suggest()}"
