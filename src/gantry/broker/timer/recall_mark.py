"""The mark that recalls a message of the timer: a message of its own, due in the same slot. Pure."""

from __future__ import annotations

from gantry.model import Host, StoreMessage, message_const, topic_validator
from gantry.protocol.message.properties import encode_properties

RECALL_MESSAGE_TAG = "_RECALL_TAG_"


def mark_properties(topic: str, unique_key: str, *, now_ms: int, with_topic: bool) -> dict[str, str]:
    """What a mark says of the message it recalls; its time is missing. `with_topic`: appendTopicForTimerDeleteKey.

    Source: RecallMessageProcessor (5.5).
    """
    return {
        message_const.TAGS: RECALL_MESSAGE_TAG,
        message_const.TIMER_DEL_UNIQKEY: f"{topic}+{unique_key}" if with_topic else unique_key,
        message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX: unique_key,
        message_const.BORN_TIMESTAMP: str(now_ms),
    }


def mark_in_slot(
    topic: str, unique_key: str, out_ms: int, *, now_ms: int, with_topic: bool, born_host: Host, store_host: Host
) -> StoreMessage:
    """A mark for the slot of `out_ms`."""
    properties = mark_properties(topic, unique_key, now_ms=now_ms, with_topic=with_topic)
    properties[message_const.TIMER_DELIVER_MS] = str(out_ms + 1)
    properties[message_const.TIMER_OUT_MS] = str(out_ms)
    properties[message_const.REAL_TOPIC] = topic
    properties[message_const.REAL_QUEUE_ID] = "0"
    return StoreMessage(
        topic=topic_validator.TIMER_TOPIC,
        queue_id=0,
        body=b"0",
        properties=encode_properties(properties),
        born_timestamp=now_ms,
        born_host=born_host,
        store_host=store_host,
    )
