"""Messages of the timer's topic: what they say, what becomes of them when their slot comes, and how copies are told. Pure."""

from __future__ import annotations

from typing import NamedTuple

from gantry.model import StoreMessage, message_const, topic_validator
from gantry.protocol.message.properties import decode_properties, encode_properties
from gantry.protocol.message.record import RecordView, store_again

_DEQUEUED = message_const.TIMER_DEQUEUE_MS.encode()


class TimerMessage(NamedTuple):
    """A record of the timer's topic. `topic` and `queue_id` are where it goes; `roll_times`: how often it was put back."""

    view: RecordView
    properties: dict[str, str]
    topic: str
    queue_id: int
    out_ms: int
    unique_key: str
    roll_times: int

    @property
    def recalls(self) -> str | None:
        """The unique key of the message that this one recalls; None for an ordinary message."""
        key = self.properties.get(message_const.TIMER_DEL_UNIQKEY)
        # Brokers with appendTopicForTimerDeleteKey, and those before 5.5, put the topic before it.
        return key.removeprefix(f"{self.topic}+") if key is not None else None

    def is_expired(self, now_ms: int) -> bool:
        """It is not to come any more, as late as it is: of a recurring timer that skips what it missed."""
        expires_ms = self.properties.get(message_const.CRON_EXPIRES_MS, "")
        return _is_number(expires_ms) and now_ms > int(expires_ms)


def timer_message(record: bytes | memoryview) -> TimerMessage | None:
    """What the record says; None when it names no destination or time."""
    view = RecordView(record)
    properties = decode_properties(view.properties)
    topic = properties.get(message_const.REAL_TOPIC)
    queue_id, out_ms = properties.get(message_const.REAL_QUEUE_ID, ""), properties.get(message_const.TIMER_OUT_MS, "")
    if topic is None or not _is_number(queue_id) or not _is_number(out_ms):
        return None
    rolls = properties.get(message_const.TIMER_ROLL_TIMES, "0")
    return TimerMessage(
        view,
        properties,
        topic,
        int(queue_id),
        int(out_ms),
        properties.get(message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX, ""),
        int(rolls) if _is_number(rolls) else 0,
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def delivered(message: TimerMessage, *, enqueued_ms: int, now_ms: int) -> StoreMessage:
    """The message as it goes to its topic. Source: TimerMessageStore.convert, convertMessage (5.5)."""
    properties = dict(message.properties)
    del properties[message_const.REAL_TOPIC], properties[message_const.REAL_QUEUE_ID]
    return _store_message(message, properties, message.topic, message.queue_id, enqueued_ms, now_ms)


def put_back(message: TimerMessage, *, enqueued_ms: int, now_ms: int) -> StoreMessage:
    """The message as it goes into the timer once more."""
    properties = dict(message.properties)
    properties[message_const.TIMER_ROLL_TIMES] = str(message.roll_times + 1)
    return _store_message(message, properties, topic_validator.TIMER_TOPIC, 0, enqueued_ms, now_ms)


def _store_message(
    message: TimerMessage, properties: dict[str, str], topic: str, queue_id: int, enqueued_ms: int, now_ms: int
) -> StoreMessage:
    properties[message_const.TIMER_ENQUEUE_MS] = str(enqueued_ms)
    properties[message_const.TIMER_DEQUEUE_MS] = str(now_ms)
    encoded = encode_properties(properties)
    return store_again(message.view, topic=topic, queue_id=queue_id, properties=encoded, wait_store_ok=False)


def copy_key(message: TimerMessage, *, put_back: bool) -> int:
    """Tells the copy that firing this message makes. Equal for a message and its copy, by chance for one pair in 2^64.

    Born host and time are in it, which no sender can choose: a forged copy stands for nothing.
    """
    view = message.view
    return hash(
        (
            message.roll_times + 1 if put_back else -1,
            message.topic,
            message.queue_id,
            message.unique_key,
            message.out_ms,
            message.properties.get(message_const.TIMER_DEL_UNIQKEY),
            view.born_timestamp,
            view.born_host,
        )
    )


def key_of_copy(view: RecordView) -> int | None:
    """`copy_key` of the message that this record was made of when it fired; None for all other records."""
    encoded = view.properties
    if _DEQUEUED not in encoded:
        return None
    properties = decode_properties(encoded)
    out_ms, rolls = properties.get(message_const.TIMER_OUT_MS, ""), -1
    topic, queue_id = view.topic, view.queue_id
    if topic == topic_validator.TIMER_TOPIC:
        number, queue = properties.get(message_const.TIMER_ROLL_TIMES, ""), properties.get(message_const.REAL_QUEUE_ID, "")
        if not _is_number(number) or not _is_number(queue):
            return None
        topic, queue_id, rolls = properties.get(message_const.REAL_TOPIC, ""), int(queue), int(number)
    if not _is_number(out_ms) or message_const.TIMER_DEQUEUE_MS not in properties:
        return None
    return hash(
        (
            rolls,
            topic,
            queue_id,
            properties.get(message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX, ""),
            int(out_ms),
            properties.get(message_const.TIMER_DEL_UNIQKEY),
            view.born_timestamp,
            view.born_host,
        )
    )
