"""The forms of a half message: waiting, appended again, committed, parked. Pure.

Source: TransactionalMessageBridge, EndTransactionProcessor, DefaultTransactionalMessageCheckListener (5.5).
"""

from __future__ import annotations

from typing import NamedTuple

from gantry.model import StoreMessage, message_const, sys_flag, topic_validator
from gantry.protocol.message.properties import decode_properties, encode_properties
from gantry.protocol.message.record import RecordView, store_again

HALF_TOPIC = topic_validator.TRANS_HALF_TOPIC
PARKED_TOPIC = topic_validator.TRANS_CHECK_MAX_TIME_TOPIC
QUEUE_ID = 0
"""The one queue of each of the topics."""

NOT_DELAYED = (
    message_const.DELAY_TIME_LEVEL,
    message_const.TIMER_DELIVER_MS,
    message_const.TIMER_DELAY_MS,
    message_const.TIMER_DELAY_SEC,
)
"""What a transaction cannot have: its message is there when it is committed."""


MARKS_SIZE_MAX = 128
"""What rounds of checks add to the properties of a half, at most: a sender must leave so much room."""


class Identity(NamedTuple):
    """What all copies of one half message have in common, and no two halves do.

    A producer that sends again after a time-out stores a second half under the same unique key; its born time differs.
    """

    unique_key: str
    born_timestamp: int
    body_crc: int


class Half:
    """A record of the half topic, with what transactions ask of it."""

    __slots__ = ("properties", "view")

    def __init__(self, view: RecordView) -> None:
        self.view = view
        self.properties = decode_properties(view.properties)

    @property
    def unique_key(self) -> str:
        return self.properties.get(message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX, "")

    @property
    def identity(self) -> Identity:
        return Identity(self.unique_key, self.view.born_timestamp, self.view.body_crc)

    @property
    def producer_group(self) -> str | None:
        return self.properties.get(message_const.PRODUCER_GROUP)

    @property
    def real_topic(self) -> str:
        return self.properties.get(message_const.REAL_TOPIC, "")

    @property
    def real_queue_id(self) -> int | None:
        """None when it is no queue's number."""
        text = self.properties.get(message_const.REAL_QUEUE_ID, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None

    @property
    def check_times(self) -> int:
        """How often its producers were asked; what is no number counts as a first time."""
        return _number(self.properties.get(message_const.TRANSACTION_CHECK_TIMES), 0)

    @property
    def prepared_queue_offset(self) -> int:
        """Where it lay before it was appended again within its immunity; -1: it was not."""
        return _number(self.properties.get(message_const.TRANSACTION_PREPARED_QUEUE_OFFSET), -1)

    @property
    def immunity_ms(self) -> int | None:
        """How long its sender wants it left alone; None when it says nothing of it, or no number."""
        seconds = _number(self.properties.get(message_const.CHECK_IMMUNITY_TIME_IN_SECONDS), -1)
        return None if seconds < 0 else seconds * 1000

    # -- its other forms

    def renewed(self, *, check_times: int | None = None, prepared_queue_offset: int | None = None) -> StoreMessage:
        """The same half for the end of its queue; the properties given are set."""
        properties = dict(self.properties)
        if check_times is not None:
            properties[message_const.TRANSACTION_CHECK_TIMES] = str(check_times)
        if prepared_queue_offset is not None:
            properties[message_const.TRANSACTION_PREPARED_QUEUE_OFFSET] = str(prepared_queue_offset)
        text = encode_properties(properties) if properties != self.properties else bytes(self.view.properties)
        return self._again(HALF_TOPIC, QUEUE_ID, text)

    def committed(self, topic: str, queue_id: int) -> StoreMessage:
        """As consumers get it. The stored properties stay as they are, the real topic and queue among them."""
        view = self.view
        flags = sys_flag.with_transaction_type(view.sys_flag, sys_flag.TRANSACTION_COMMIT)
        return self._again(topic, queue_id, bytes(view.properties))._replace(
            sys_flag=flags, prepared_transaction_offset=view.physical_offset
        )

    def parked(self) -> StoreMessage:
        """As it is set aside when nobody says how it ends."""
        return self._again(PARKED_TOPIC, QUEUE_ID, bytes(self.view.properties))

    def resumed(self) -> StoreMessage:
        """A parked one, to be checked from the first time on again."""
        return self.renewed(check_times=0)

    def _again(self, topic: str, queue_id: int, properties: bytes) -> StoreMessage:
        return store_again(self.view, topic=topic, queue_id=queue_id, properties=properties, wait_store_ok=True)


def is_half(properties: dict[str, str], reconsume_times: int, delay_level: int) -> bool:
    """Whether a send is the first half of a transaction.

    Clients older than 4.6.1 leave the mark on a committed message that they send for a retry.
    Source: SendMessageProcessor.sendMessage (5.5).
    """
    marked = properties.get(message_const.TRANSACTION_PREPARED, "").lower() == "true"
    return marked and not (reconsume_times > 0 and delay_level > 0)


def to_half_topic(properties: dict[str, str], topic: str, queue_id: int, producer_group: str) -> tuple[str, int]:
    """Marks a message as half: notes its destination in `properties`, returns where it waits meanwhile."""
    for name in NOT_DELAYED:
        properties.pop(name, None)
    unique_key = properties.get(message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX)
    if unique_key:
        properties[message_const.TRANSACTION_ID] = unique_key
    # Without its group nobody could end it or be asked how it ends.
    properties.setdefault(message_const.PRODUCER_GROUP, producer_group)
    # What only the broker counts is not taken from a sender.
    properties.pop(message_const.TRANSACTION_CHECK_TIMES, None)
    properties.pop(message_const.TRANSACTION_PREPARED_QUEUE_OFFSET, None)
    properties[message_const.REAL_TOPIC] = topic
    properties[message_const.REAL_QUEUE_ID] = str(queue_id)
    return HALF_TOPIC, QUEUE_ID


def _number(text: str | None, otherwise: int) -> int:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 18:
        return otherwise
    return int(text)
