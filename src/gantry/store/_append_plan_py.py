"""The middle of an append, in pure Python: records laid out with their offsets, nothing written yet.

`AppendPlan` in `_append_c.pyx` is the compiled twin.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Iterable
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from gantry.errors import MessageIllegal
from gantry.model import Host, StoreMessage, sys_flag
from gantry.protocol.disk.blank_record import BLANK_SIZE_MIN, encode_blank
from gantry.protocol.message.message_id import encode_host
from gantry.protocol.message.properties import PROPERTIES_SIZE_MAX
from gantry.protocol.message.record import CRC_MASK, HEAD_V4, body_crc, record_parts, topic_field
from gantry.protocol.message.tags import tags_code

from .delay_levels import DelayLevels
from .dispatch import TAG_KEY_PREFIX, enters_queue, index_keys, queue_tags_code
from .results import PlannedRecord
from .torn import ZERO_RUN_MAX, looks_torn

if TYPE_CHECKING:
    from .consume_queue import ConsumeQueue
    from .index_service import IndexService
    from .pending_keys import Key

_HOST_V4_SIZE = 8
_NAME_SIZE_MAX = 255
_HEAD_SIZE = HEAD_V4.size
_V6_BITS = sys_flag.BORN_HOST_V6 | sys_flag.STORE_HOST_V6
_TRANSACTION_MASK = sys_flag.TRANSACTION_MASK
_COMMON_HEAD = struct.Struct(">iiiiiqqiq24si8xi")
"""HEAD_V4 with both hosts and the store time in one piece; the prepared transaction offset is 0."""
_TOPIC_FIELD_MAX = 2 + _NAME_SIZE_MAX
COMMON_PROPERTIES_MAX = ZERO_RUN_MAX
"""Properties of so many bytes that end in no zero byte need no further look: they cannot be taken for torn."""
_SHORT_LENGTHS = tuple(length.to_bytes(2, "big") for length in range(COMMON_PROPERTIES_MAX + 1))


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


Target = tuple["ConsumeQueue", str, int, int, bytes]
"""Where common messages go: queue, topic, queue id, record magic, topic as it stands in a record."""

CommonMessage = tuple[Target, int, int, int, int, bytes, bytes, bytes, bytes, bytes | None, bytes | None]
"""target, flag, sysFlag, reconsumeTimes, bornTimestamp, body, properties in two pieces, and what stands in them: unique key,
KEYS (None: no such property), TAGS"""

Place = tuple[int, int, int]
"""queue offset, physical offset, size"""

_Row = tuple["ConsumeQueue | None", str, int, int, int, int, bytes, bytes, int, Host, int]
"""One record: queue, topic, queue id, queue offset, physical offset, size, properties in two pieces, transaction type, store
host, tagsCode"""


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
        "_keys",
        "_part_start",
        "_parts",
        "_position",
        "_ranges",
        "_room",
        "_rows",
        "_rules",
        "_size_max",
        "_with_tags",
        "done",
        "must_wait",
        "ranges",
        "start",
        "store_timestamp",
    )

    def __init__(self, rules: PlanRules, start: int, store_timestamp: int, size_max: int, with_tags: bool) -> None:
        self.start = start
        self.store_timestamp = store_timestamp
        self.ranges: list[LogRange] = []
        self.must_wait = False
        self.done = False
        self._rules = rules
        self._rows: list[_Row] = []
        self._keys: list[Key] = []
        """What goes into the index, in the order of the log."""
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
        return len(self._rows)

    @property
    def records(self) -> list[PlannedRecord]:
        """What is laid out, in the order of the log."""
        return [self._record_of(row) for row in self._rows]

    @property
    def last_record(self) -> tuple[int, int]:
        """Physical offset and size of the last one."""
        row = self._rows[-1]
        return row[4], row[5]

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
        code = 0
        if queue is not None:
            code = queue_tags_code(topic, properties, self.store_timestamp, self._rules.delay_levels)
            queue.planned_offset = queue_offset + 1
        new: _Row = (
            queue, topic, queue_id, queue_offset, self._position, size, properties, b"", transaction, store_host, code
        )  # fmt: skip
        for key in index_keys(properties, transaction, self._with_tags):
            self._keys.append((topic, key, self._position, self.store_timestamp))
        self._position += size
        self._room -= size
        if wait:
            self.must_wait = True
        self._rows.append(new)
        return self._record_of(new)

    def add_batch(self, messages: Iterable[StoreMessage]) -> list[PlannedRecord]:
        """Lays out several messages, all of them or none.

        Raises: MessageIllegal, also when they exceed maxMessageSize together, as the original has it.
        """
        batch = list(messages)
        check_batch(batch, self._size_max, self._rules.file_size)
        return [self.add(message) for message in batch]

    @property
    def common_body_max(self) -> int:
        """Bodies of this length fit whatever their topic, with properties of up to `COMMON_PROPERTIES_MAX` bytes."""
        others = _HEAD_SIZE + _TOPIC_FIELD_MAX + 2 + COMMON_PROPERTIES_MAX + BLANK_SIZE_MIN
        return min(self._size_max, self._rules.file_size - others)

    def target(self, topic: str, queue_id: int) -> Target:
        """Where add_common() is to put messages. Raises: MessageIllegal when no queue can have that name."""
        row = self._rules.topic_rows.get(topic)
        if row is None:
            row = self._rules.topic_rows[topic] = new_row(topic)
        return self._get_queue(topic, queue_id), topic, queue_id, row.magic, row.field

    def add_common(self, messages: list[CommonMessage], born_host: Host, store_host: Host, wait: bool) -> list[Place]:
        """What add() does, for many messages of which nothing is rare, between two IPv4 hosts.

        That is: no transaction, no topic of delayed messages, body and properties within the common maximum, and properties
        that end their last pair.
        """
        timestamp = self.store_timestamp
        hosts = encode_host(born_host) + timestamp.to_bytes(8, "big") + encode_host(store_host)
        pack, with_tags, add_row, add_key = _COMMON_HEAD.pack, self._with_tags, self._rows.append, self._keys.append
        parts, position, room = self._parts, self._position, self._room
        places: list[Place] = []
        for target, flag, flags, reconsume_times, born_timestamp, body, properties, more, unique, words, tags in messages:
            queue, topic, queue_id, magic, field = target
            body_size, properties_size = len(body), len(properties) + len(more)
            size = _HEAD_SIZE + body_size + len(field) + 2 + properties_size
            if size + BLANK_SIZE_MIN > room:
                self._position, self._room = position, room
                self._roll(size)
                parts, position, room = self._parts, self._position, self._room
            queue_offset = queue.planned_offset
            queue.planned_offset = queue_offset + 1
            parts += (
                pack(
                    size,
                    magic,
                    crc32(body) & CRC_MASK,
                    queue_id,
                    flag,
                    queue_offset,
                    position,
                    flags & ~_V6_BITS,
                    born_timestamp,
                    hosts,
                    reconsume_times,
                    body_size,
                ),
                body,
                field,
                _SHORT_LENGTHS[properties_size],
                properties,
                more,
            )
            add_key((topic, unique, position, timestamp))
            code = 0
            if words:
                for word in words.split(b" "):
                    if word:
                        add_key((topic, word, position, timestamp))
            if tags:
                code = tags_code(tags.decode("utf-8", "replace"))
                if with_tags:
                    add_key((topic, TAG_KEY_PREFIX + tags, position, timestamp))
            add_row((queue, topic, queue_id, queue_offset, position, size, properties, more, 0, store_host, code))
            places.append((queue_offset, position, size))
            position += size
            room -= size
        self._position, self._room = position, room
        if wait and messages:
            self.must_wait = True
        return places

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
        for row in self._rows:
            queue = row[0]
            if queue is not None:
                if not queue.dirty:
                    touched.append(queue)
                queue.append(row[4], row[5], row[10])
        if index is not None:
            index.pending.add_all(self._keys)

    def expose(self, listener: ArrivalListener | None) -> None:
        """The records are safe: readers see them; `listener` is told of those in watched queues."""
        for queue, topic, queue_id, queue_offset, _, _, properties, more, _, _, code in self._rows:
            if queue is None:
                continue
            visible = queue.visible_offset = queue_offset + 1
            if queue.watched and listener is not None:
                listener(topic, queue_id, visible, code, self.store_timestamp, properties + more)

    def withdraw(self) -> None:
        """Gives the queue offsets back that were planned."""
        for row in self._rows:
            if row[0] is not None:
                row[0].planned_offset = row[0].max_offset

    def leave_out(self, queues: Container[ConsumeQueue]) -> None:
        """These queues are gone: expose() passes over their records."""
        self._rows = [(None, *row[1:]) if row[0] is not None and row[0] in queues else row for row in self._rows]

    def _record_of(self, row: _Row) -> PlannedRecord:
        queue, topic, queue_id, queue_offset, position, size, properties, more, transaction, store_host, code = row
        record = PlannedRecord(
            topic,
            queue_id,
            queue_offset,
            position,
            size,
            self.store_timestamp,
            store_host,
            properties + more,
            transaction,
            queue,
        )
        record.tags_code = code
        return record

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
