"""The middle of an append, in pure Python: records laid out with their offsets, nothing written yet.

`AppendPlan` in `_append_c.pyx` is the compiled twin.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import TYPE_CHECKING, NamedTuple

from gantry.errors import MessageIllegal
from gantry.model import StoreMessage, sys_flag
from gantry.protocol.disk.blank_record import BLANK_SIZE_MIN, encode_blank
from gantry.protocol.message.message_id import encode_host
from gantry.protocol.message.properties import PROPERTIES_SIZE_MAX
from gantry.protocol.message.record import HEAD_V4, body_crc, record_parts, topic_field

from .delay_levels import DelayLevels
from .dispatch import enters_queue, index_keys, queue_tags_code
from .results import PlannedRecord
from .torn import ZERO_RUN_MAX, looks_torn

if TYPE_CHECKING:
    from .consume_queue import ConsumeQueue
    from .index_service import IndexService

_HOST_V4_SIZE = 8
_NAME_SIZE_MAX = 255
_HEAD_SIZE = HEAD_V4.size
_V6_BITS = sys_flag.BORN_HOST_V6 | sys_flag.STORE_HOST_V6
_TRANSACTION_MASK = sys_flag.TRANSACTION_MASK


def is_storable_topic(topic: str) -> bool:
    """The topic can name a directory of its own below consumequeue: 1 to 255 bytes, no path in it."""
    return topic not in ("", ".", "..") and "/" not in topic and "\0" not in topic and len(topic.encode()) <= _NAME_SIZE_MAX


ArrivalListener = Callable[[str, int, int, int, int, bytes], None]
"""topic, queue id, max offset (exclusive), tagsCode, storeTimestamp (ms), encoded properties"""


class TopicRow(NamedTuple):
    """What a plan needs of a topic: record magic and the topic as it stands in a record."""

    magic: int
    field: bytes


class LogRange(NamedTuple):
    """Bytes that go into one file of the log. Units: `start` is a physical offset."""

    start: int
    data: bytes


class PlanRules:
    """What all plans of a store have in common."""

    __slots__ = ("delay_levels", "file_size", "get_queue", "topic_rows")

    def __init__(self, file_size: int, get_queue: Callable[[str, int], ConsumeQueue], delay_levels: DelayLevels) -> None:
        self.file_size = file_size
        self.get_queue = get_queue
        self.delay_levels = delay_levels
        self.topic_rows: dict[str, TopicRow] = {}


class AppendPlan:
    """Records of one append, laid out but not written.

    add() decides place and offsets and touches nothing outside the plan but the queues' `planned_offset`, which withdraw()
    takes back. Once its `ranges` are in the log, enter() makes queue and index entries of the records, and expose() shows
    them to readers. Either every record of a plan becomes part of the store or none.
    """

    __slots__ = (
        "_get_queue",
        "_part_start",
        "_parts",
        "_position",
        "_ranges",
        "_room",
        "_rules",
        "_size_max",
        "_with_tags",
        "done",
        "must_wait",
        "ranges",
        "records",
        "start",
        "store_timestamp",
    )

    def __init__(self, rules: PlanRules, start: int, store_timestamp: int, size_max: int, with_tags: bool) -> None:
        self.start = start
        self.store_timestamp = store_timestamp
        self.records: list[PlannedRecord] = []
        self.ranges: list[LogRange] = []
        self.must_wait = False
        self.done = False
        self._rules = rules
        self._get_queue = rules.get_queue
        self._size_max = size_max
        self._with_tags = with_tags
        self._parts: list[bytes | memoryview] = []
        self._part_start = start
        self._position = start
        self._room = rules.file_size - start % rules.file_size
        self._ranges: list[tuple[int, list[bytes | memoryview]]] = []

    @property
    def count(self) -> int:
        """How many records it has."""
        return len(self.records)

    @property
    def last_record(self) -> tuple[int, int]:
        """Physical offset and size of the last one."""
        record = self.records[-1]
        return record.physical_offset, record.size

    @property
    def end(self) -> int:
        """Physical offset after the plan's last record."""
        return self._position

    def add(self, message: StoreMessage) -> PlannedRecord:
        """Lays out one message. Raises: MessageIllegal; the plan is as before then."""
        topic, queue_id, body, properties, flag, flags, born_timestamp, born_host, store_host, _, _, wait = message
        row = self._rules.topic_rows.get(topic)
        if row is None:
            row = self._rules.topic_rows[topic] = new_row(topic)
        if len(body) > self._size_max or len(properties) > ZERO_RUN_MAX or properties[-1:] == b"\0":
            check_message(message, self._size_max)
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
                self.store_timestamp,
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
                store_timestamp=self.store_timestamp,
            )
            self._parts += parts
        record = PlannedRecord(
            topic,
            queue_id,
            queue_offset,
            self._position,
            size,
            self.store_timestamp,
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
        check_batch(batch, self._size_max, self._rules.file_size)
        return [self.add(message) for message in batch]

    def seal(self) -> None:
        """Joins what was laid out into one piece per file; nothing is added afterwards."""
        if self._parts:
            self._ranges.append((self._part_start, self._parts))
            self._parts = []
        self.ranges = [LogRange(start, b"".join(parts)) for start, parts in self._ranges]

    def enter(self, touched: list[ConsumeQueue], index: IndexService | None) -> None:
        """The records are in the log: their queue and index entries are made, in order.

        Queues whose files now lack something are added to `touched`.
        """
        delay_levels = self._rules.delay_levels
        for record in self.records:
            properties = record.properties
            queue = record.queue
            if queue is not None:
                record.tags_code = code = queue_tags_code(record.topic, properties, record.store_timestamp, delay_levels)
                if not queue.dirty:
                    touched.append(queue)
                queue.append(record.physical_offset, record.size, code)
            if index is not None:
                keys = index_keys(properties, record.transaction_type, self._with_tags)
                if keys:
                    index.add(record.topic, keys, record.physical_offset, record.store_timestamp)

    def expose(self, listener: ArrivalListener | None) -> None:
        """The records are safe: readers see them; `listener` is told of those in watched queues."""
        for record in self.records:
            queue = record.queue
            if queue is None:
                continue
            visible = queue.visible_offset = record.queue_offset + 1
            if queue.watched and listener is not None:
                listener(record.topic, record.queue_id, visible, record.tags_code, record.store_timestamp, record.properties)

    def withdraw(self) -> None:
        """Gives the queue offsets back that were planned."""
        for record in self.records:
            if record.queue is not None:
                record.queue.planned_offset = record.queue.max_offset

    def leave_out(self, queues: Container[ConsumeQueue]) -> None:
        """These queues are gone: expose() passes over their records."""
        for record in self.records:
            if record.queue is not None and record.queue in queues:
                record.queue = None

    def _roll(self, size: int) -> None:
        """Ends the file with a blank record; the next record begins the next file."""
        check_fits(size, self._rules.file_size)
        self._parts.append(encode_blank(self._room))
        self._ranges.append((self._part_start, self._parts))
        self._parts = []
        self._position += self._room
        self._part_start = self._position
        self._room = self._rules.file_size


# -- rules that both twins ask


def new_row(topic: str) -> TopicRow:
    """Raises: MessageIllegal when no queue can have that name."""
    if not is_storable_topic(topic):
        raise MessageIllegal(f"the topic {topic[:64]!r} cannot be the name of a directory; the message was not stored")
    try:
        return TopicRow(*topic_field(topic))
    except ValueError as error:
        raise MessageIllegal(f"{error}; the message was not stored") from error


def check_fits(size: int, file_size: int) -> None:
    """Raises: MessageIllegal when a record of `size` bytes does not fit into a whole file."""
    if size + BLANK_SIZE_MIN > file_size:
        raise MessageIllegal(f"the message needs {size} bytes in the log, a file of it has {file_size}; it was not stored")


def check_message(message: StoreMessage, size_max: int) -> None:
    """Raises: MessageIllegal when body or properties are too long, or the properties would look torn after a crash."""
    if len(message.properties) > PROPERTIES_SIZE_MAX:
        raise MessageIllegal(
            f"the message's properties have {len(message.properties)} bytes, at most {PROPERTIES_SIZE_MAX} are allowed",
            properties_too_long=True,
        )
    if len(message.body) > size_max:
        raise MessageIllegal(f"the message's body has {len(message.body)} bytes, maxMessageSize is {size_max}")
    if looks_torn(message.properties):
        raise MessageIllegal(
            f"the message's properties end in a zero byte, or have more than {ZERO_RUN_MAX} of them in a row: after a crash "
            "the message would be taken for torn; it was not stored"
        )


def check_batch(messages: list[StoreMessage], size_max: int, file_size: int) -> None:
    """Raises: MessageIllegal when one of them does not fit, or all of them together exceed maxMessageSize."""
    total = sum(len(message.body) + len(message.properties) for message in messages)
    if total > size_max:
        raise MessageIllegal(f"the batch has {total} bytes, maxMessageSize is {size_max}; nothing of it was stored")
    for message in messages:
        check_message(message, size_max)
        size, _ = record_parts(message, queue_offset=0, physical_offset=0, store_timestamp=0)
        check_fits(size, file_size)
