"""The pure middle of an append: records laid out with their offsets, nothing written yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from gantry.errors import MessageIllegal
from gantry.model import StoreMessage, sys_flag
from gantry.protocol.disk.blank_record import BLANK_SIZE_MIN, encode_blank
from gantry.protocol.message.message_id import encode_host
from gantry.protocol.message.properties import PROPERTIES_SIZE_MAX
from gantry.protocol.message.record import HEAD_V4, body_crc, record_parts, topic_field

from .consume_queue import ConsumeQueue
from .dispatch import enters_queue
from .results import PlannedRecord

_HOST_V4_SIZE = 8
_NAME_SIZE_MAX = 255
_HEAD_SIZE = HEAD_V4.size
_V6_BITS = sys_flag.BORN_HOST_V6 | sys_flag.STORE_HOST_V6
_TRANSACTION_MASK = sys_flag.TRANSACTION_MASK


def is_storable_topic(topic: str) -> bool:
    """The topic can name a directory of its own below consumequeue: 1 to 255 bytes, no path in it."""
    return topic not in ("", ".", "..") and "/" not in topic and "\0" not in topic and len(topic.encode()) <= _NAME_SIZE_MAX


class TopicRow(NamedTuple):
    """What a plan needs of a topic: record magic and the topic as it stands in a record."""

    magic: int
    field: bytes


class LogRange(NamedTuple):
    """Bytes that go into one file of the log. Units: `start` is a physical offset."""

    start: int
    data: bytes


class AppendPlan:
    """Records of one append, laid out but not written.

    add() decides place and offsets and touches nothing outside the plan but the queues' `planned_offset`, which abort
    takes back.
    Either every record of a plan becomes part of the store (commit) or none (abort).
    """

    __slots__ = (
        "_file_size",
        "_get_queue",
        "_part_start",
        "_parts",
        "_position",
        "_ranges",
        "_room",
        "_size_max",
        "_store_timestamp",
        "_topic_rows",
        "done",
        "must_wait",
        "ranges",
        "records",
        "start",
    )

    def __init__(
        self,
        *,
        start: int,
        file_size: int,
        store_timestamp: int,
        size_max: int,
        get_queue: Callable[[str, int], ConsumeQueue],
        topic_rows: dict[str, TopicRow],
    ) -> None:
        self.start = start
        self.records: list[PlannedRecord] = []
        self.ranges: list[LogRange] = []
        self.must_wait = False
        self.done = False
        self._file_size = file_size
        self._store_timestamp = store_timestamp
        self._size_max = size_max
        self._get_queue = get_queue
        self._topic_rows = topic_rows
        self._parts: list[bytes | memoryview] = []
        self._part_start = start
        self._position = start
        self._room = file_size - start % file_size
        self._ranges: list[tuple[int, list[bytes | memoryview]]] = []

    @property
    def end(self) -> int:
        """Physical offset after the plan's last record."""
        return self._position

    def add(self, message: StoreMessage) -> PlannedRecord:
        """Lays out one message. Raises: MessageIllegal; the plan is as before then."""
        topic, queue_id, body, properties, flag, flags, born_timestamp, born_host, store_host, _, _, wait = message
        row = self._topic_rows.get(topic)
        if row is None:
            row = self._new_row(topic)
        if len(body) > self._size_max or len(properties) > PROPERTIES_SIZE_MAX:
            self._refuse(message)
        transaction = flags & _TRANSACTION_MASK
        if enters_queue(transaction):
            queue = self._get_queue(topic, queue_id)
            queue_offset = queue.planned_offset
        else:
            queue, queue_offset = None, 0
        born = encode_host(born_host)
        store = encode_host(store_host)
        if len(born) == _HOST_V4_SIZE and len(store) == _HOST_V4_SIZE:
            size = _HEAD_SIZE + len(body) + len(row.field) + 2 + len(properties)
            if size + BLANK_SIZE_MIN > self._room:
                self._roll(size)
            head = HEAD_V4.pack(
                size,
                row.magic,
                body_crc(body),
                queue_id,
                flag,
                queue_offset,
                self._position,
                flags & ~_V6_BITS,
                born_timestamp,
                born,
                self._store_timestamp,
                store,
                message.reconsume_times,
                message.prepared_transaction_offset,
                len(body),
            )
            self._parts += (head, body, row.field, len(properties).to_bytes(2, "big"), properties)
        else:
            size, _ = record_parts(message, queue_offset=0, physical_offset=0, store_timestamp=0)
            if size + BLANK_SIZE_MIN > self._room:
                self._roll(size)
            _, parts = record_parts(
                message,
                queue_offset=queue_offset,
                physical_offset=self._position,
                store_timestamp=self._store_timestamp,
            )
            self._parts += parts
        record = PlannedRecord(
            topic,
            queue_id,
            queue_offset,
            self._position,
            size,
            self._store_timestamp,
            store_host,
            properties,
            transaction,
            queue,
        )
        if queue is not None:
            queue.planned_offset = queue_offset + 1
        self._position += size
        self._room -= size
        if wait:
            self.must_wait = True
        self.records.append(record)
        return record

    def add_batch(self, messages: Iterable[StoreMessage]) -> list[PlannedRecord]:
        """Lays out several messages, all of them or none.

        Raises: MessageIllegal, also when they exceed maxMessageSize together, as the original has it.
        """
        batch = list(messages)
        total = sum(len(message.body) + len(message.properties) for message in batch)
        if total > self._size_max:
            raise MessageIllegal(f"the batch has {total} bytes, maxMessageSize is {self._size_max}; nothing of it was stored")
        for message in batch:
            if len(message.body) > self._size_max or len(message.properties) > PROPERTIES_SIZE_MAX:
                self._refuse(message)
            size, _ = record_parts(message, queue_offset=0, physical_offset=0, store_timestamp=0)
            self._check_fits(size)
        return [self.add(message) for message in batch]

    def seal(self) -> None:
        """Joins what was laid out into one piece per file; nothing is added afterwards."""
        if self._parts:
            self._ranges.append((self._part_start, self._parts))
            self._parts = []
        self.ranges = [LogRange(start, b"".join(parts)) for start, parts in self._ranges]

    def _roll(self, size: int) -> None:
        """Ends the file with a blank record; the next record begins the next file."""
        self._check_fits(size)
        self._parts.append(encode_blank(self._room))
        self._ranges.append((self._part_start, self._parts))
        self._parts = []
        self._position += self._room
        self._part_start = self._position
        self._room = self._file_size

    def _check_fits(self, size: int) -> None:
        if size + BLANK_SIZE_MIN > self._file_size:
            raise MessageIllegal(
                f"the message needs {size} bytes in the log, a file of it has {self._file_size}; it was not stored"
            )

    def _new_row(self, topic: str) -> TopicRow:
        if not is_storable_topic(topic):
            raise MessageIllegal(f"the topic {topic[:64]!r} cannot be the name of a directory; the message was not stored")
        try:
            row = self._topic_rows[topic] = TopicRow(*topic_field(topic))
        except ValueError as error:
            raise MessageIllegal(f"{error}; the message was not stored") from error
        return row

    def _refuse(self, message: StoreMessage) -> None:
        if len(message.properties) > PROPERTIES_SIZE_MAX:
            raise MessageIllegal(
                f"the message's properties have {len(message.properties)} bytes, at most {PROPERTIES_SIZE_MAX} are allowed",
                properties_too_long=True,
            )
        raise MessageIllegal(f"the message's body has {len(message.body)} bytes, maxMessageSize is {self._size_max}")
