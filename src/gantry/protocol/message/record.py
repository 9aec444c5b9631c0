"""The stored message record: unit of the commit log, and of the bodies of pull, query and view answers.

Shape (big-endian; offsets for IPv4 hosts, each IPv6 host adds 12 bytes; `docs/format/commit_log.md` draws it):

    0 totalSize i4, 4 magic i4, 8 bodyCRC i4, 12 queueId i4, 16 flag i4, 20 queueOffset i8, 28 physicalOffset i8,
    36 sysFlag i4, 40 bornTimestamp i8, 48 bornHost 8|20, 56 storeTimestamp i8, 64 storeHost 8|20, 72 reconsumeTimes i4,
    76 preparedTransactionOffset i8, 84 body i4 + n, topic 1 + t (V1) or 2 + t (V2), properties i2 + p

V2 differs in its magic and in the width of the topic's length; it is written when the topic exceeds 127 bytes.
bodyCRC is CRC32 of the stored body, without its top bit.
Source: MessageExtEncoder, MessageDecoder, CommitLog.checkMessageAndReturnSize (5.3).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from gantry.errors import RemoteProtocolError
from gantry.model import MessageExt, StoreMessage, sys_flag
from gantry.model.message_const import UNIQ_CLIENT_MESSAGE_ID_KEYIDX

from .message_id import decode_host, encode_host
from .properties import decode_properties

MAGIC_V1 = 0xDAA320A7 - (1 << 32)
MAGIC_V2 = 0xDAA320AB - (1 << 32)
MAGIC_BLANK = 0xCBD43194 - (1 << 32)
TOPIC_V1_SIZE_MAX = 127
TOPIC_SIZE_MAX = 32767
RECORD_SIZE_MIN = 91
CRC_MASK = 0x7FFFFFFF
HEAD_V4 = struct.Struct(">iiiiiqqiq8sq8siqi")
"""Everything before the body when both hosts are IPv4."""

_FRONT = struct.Struct(">iiiiiqqiq")
_BACK = struct.Struct(">iqi")
_I8 = struct.Struct(">q")
_QUEUE_OFFSET_AT = 20
_I4 = struct.Struct(">i")
_I2 = struct.Struct(">H")
_V4_HOST_SIZE = 8
_V6_EXTRA = 12


def topic_field(topic: str) -> tuple[int, bytes]:
    """Record magic and the topic as it stands in the record, its length included.

    Raises: ValueError when the topic exceeds 32,767 bytes.
    """
    data = topic.encode()
    if len(data) <= TOPIC_V1_SIZE_MAX:
        return MAGIC_V1, bytes((len(data),)) + data
    if len(data) > TOPIC_SIZE_MAX:
        raise ValueError(f"topic of {len(data)} bytes exceeds {TOPIC_SIZE_MAX}")
    return MAGIC_V2, _I2.pack(len(data)) + data


def body_crc(body: bytes | memoryview) -> int:
    return zlib.crc32(body) & CRC_MASK


def encode_record(message: StoreMessage, *, queue_offset: int, physical_offset: int, store_timestamp: int) -> bytes:
    """One whole stored record. The host bits of sysFlag follow the hosts' kinds.

    Units: queue_offset in entries, physical_offset in bytes of the log, store_timestamp in ms since 1970 UTC.
    """
    return b"".join(
        record_parts(message, queue_offset=queue_offset, physical_offset=physical_offset, store_timestamp=store_timestamp)[1]
    )


def record_parts(
    message: StoreMessage, *, queue_offset: int, physical_offset: int, store_timestamp: int
) -> tuple[int, list[bytes | memoryview]]:
    """Size of a record and its parts in order, not yet joined: a plan of many records joins once."""
    topic, queue_id, body, properties, flag, flags, born_timestamp, born_host, store_host = message[:9]
    magic, topic_part = topic_field(topic)
    born = encode_host(born_host)
    store = encode_host(store_host)
    flags &= ~(sys_flag.BORN_HOST_V6 | sys_flag.STORE_HOST_V6)
    if len(born) != _V4_HOST_SIZE:
        flags |= sys_flag.BORN_HOST_V6
    if len(store) != _V4_HOST_SIZE:
        flags |= sys_flag.STORE_HOST_V6
    size = 74 + len(born) + len(store) + len(body) + len(topic_part) + len(properties)
    front = _FRONT.pack(size, magic, body_crc(body), queue_id, flag, queue_offset, physical_offset, flags, born_timestamp)
    back = _BACK.pack(message.reconsume_times, message.prepared_transaction_offset, len(body))
    head = b"".join((front, born, _I8.pack(store_timestamp), store, back))
    return size, [head, body, topic_part, _I2.pack(len(properties)), properties]


def queue_offset_of(record: bytes | memoryview) -> int:
    """Queue offset of a whole record, as reads of the store give it: nothing is checked again."""
    offset: int = _I8.unpack_from(record, _QUEUE_OFFSET_AT)[0]
    return offset


class RecordView:
    """The fields of one record, read from its bytes when asked for; holds the buffer it was made of.

    Shape:  `start` and `size` are byte positions in the buffer.
    Raises: RemoteProtocolError from the constructor when the bytes are not one whole record.
    """

    __slots__ = (
        "_at",
        "_topic_at",
        "_topic_length_size",
        "body_crc",
        "body_length",
        "born_timestamp",
        "buffer",
        "flag",
        "magic",
        "physical_offset",
        "queue_id",
        "queue_offset",
        "size",
        "start",
        "store_timestamp",
        "sys_flag",
        "topic_length",
    )

    size: int
    magic: int
    body_crc: int
    queue_id: int
    flag: int
    queue_offset: int
    physical_offset: int
    sys_flag: int
    born_timestamp: int
    store_timestamp: int
    body_length: int
    topic_length: int

    def __init__(self, buffer: bytes | memoryview, start: int = 0) -> None:
        available = len(buffer) - start
        if available < RECORD_SIZE_MIN:
            raise RemoteProtocolError(f"record at byte {start} has {available} bytes; at least {RECORD_SIZE_MIN} are needed")
        (
            self.size,
            self.magic,
            self.body_crc,
            self.queue_id,
            self.flag,
            self.queue_offset,
            self.physical_offset,
            self.sys_flag,
            self.born_timestamp,
        ) = _FRONT.unpack_from(buffer, start)
        if self.magic not in (MAGIC_V1, MAGIC_V2):
            raise RemoteProtocolError(f"record at byte {start} has the unknown magic 0x{self.magic & 0xFFFFFFFF:08x}")
        if self.size > available or self.size < RECORD_SIZE_MIN:
            raise RemoteProtocolError(f"record at byte {start} says {self.size} bytes; {available} are there")
        self.buffer = buffer
        self.start = start
        at = start + 56 + (_V6_EXTRA if self.sys_flag & sys_flag.BORN_HOST_V6 else 0)
        (self.store_timestamp,) = _I8.unpack_from(buffer, at)
        at += 28 + (_V6_EXTRA if self.sys_flag & sys_flag.STORE_HOST_V6 else 0)
        self._at = at
        stop = start + self.size
        if at + 4 > stop:
            raise self._broken()
        (self.body_length,) = _I4.unpack_from(buffer, at)
        wide = self.magic == MAGIC_V2
        self._topic_length_size = 2 if wide else 1
        topic_at = at + 4 + self.body_length
        if self.body_length < 0 or topic_at + self._topic_length_size > stop:
            raise self._broken()
        self._topic_at = topic_at
        self.topic_length = buffer[topic_at] << 8 | buffer[topic_at + 1] if wide else buffer[topic_at]
        properties_at = topic_at + self._topic_length_size + self.topic_length
        if properties_at + 2 > stop:
            raise self._broken()
        (length,) = _I2.unpack_from(buffer, properties_at)
        if properties_at + 2 + length != stop:
            raise self._broken()

    def _broken(self) -> RemoteProtocolError:
        return RemoteProtocolError(f"lengths inside the record at byte {self.start} do not add up to its {self.size} bytes")

    @property
    def end(self) -> int:
        """Byte position after the record."""
        return self.start + self.size

    @property
    def topic_start(self) -> int:
        """Byte position of the topic's length, right after the body."""
        return self._topic_at

    @property
    def properties_length(self) -> int:
        return self.end - self._topic_at - self._topic_length_size - self.topic_length - 2

    @property
    def body(self) -> bytes | memoryview:
        return self.buffer[self._at + 4 : self._topic_at]

    @property
    def topic(self) -> str:
        at = self._topic_at + self._topic_length_size
        return bytes(self.buffer[at : at + self.topic_length]).decode("utf-8", "replace")

    @property
    def properties(self) -> bytes:
        """The encoded property string."""
        at = self._topic_at + self._topic_length_size + self.topic_length + 2
        return bytes(self.buffer[at : self.start + self.size])

    @property
    def born_host(self) -> tuple[str, int]:
        at = self.start + 48
        return decode_host(bytes(self.buffer[at : at + (20 if self.sys_flag & sys_flag.BORN_HOST_V6 else 8)]))

    @property
    def store_host_bytes(self) -> bytes:
        at = self.start + 64 + (_V6_EXTRA if self.sys_flag & sys_flag.BORN_HOST_V6 else 0)
        return bytes(self.buffer[at : at + (20 if self.sys_flag & sys_flag.STORE_HOST_V6 else 8)])

    @property
    def store_host(self) -> tuple[str, int]:
        return decode_host(self.store_host_bytes)

    @property
    def reconsume_times(self) -> int:
        (value,) = _I4.unpack_from(self.buffer, self._at - 12)
        return int(value)

    @property
    def prepared_transaction_offset(self) -> int:
        (value,) = _I8.unpack_from(self.buffer, self._at - 8)
        return int(value)

    @property
    def crc_matches(self) -> bool:
        """The body is the one the CRC was made of; a record without a body has nothing to check."""
        return not self.body_length or body_crc(self.body) == self.body_crc

    @property
    def offset_msg_id(self) -> str:
        return (self.store_host_bytes + self.physical_offset.to_bytes(8, "big", signed=True)).hex().upper()


def record_properties(record: bytes | memoryview) -> bytes:
    """The encoded property string of one whole record that was checked before; a third of the cost of a RecordView."""
    flags = record[39]  # the low byte of sysFlag, big-endian at 36
    at = 84 + (_V6_EXTRA if flags & sys_flag.BORN_HOST_V6 else 0) + (_V6_EXTRA if flags & sys_flag.STORE_HOST_V6 else 0)
    (body_length,) = _I4.unpack_from(record, at)
    at += 4 + body_length
    if record[7] == MAGIC_V2 & 0xFF:
        at += 2 + (record[at] << 8 | record[at + 1])
    else:
        at += 1 + record[at]
    return bytes(record[at + 2 :])


def decode_record(buffer: bytes | memoryview, start: int = 0, *, check_crc: bool = False) -> MessageExt:
    """The record at `start` as a message; the body stays as stored (compressed where sysFlag says so).

    Raises: RemoteProtocolError when the bytes are not one whole record, or its CRC does not match and was to be checked.
    """
    view = RecordView(buffer, start)
    if check_crc and not view.crc_matches:
        raise RemoteProtocolError(f"body CRC of the record at physical offset {view.physical_offset} does not match")
    properties = decode_properties(view.properties)
    offset_id = view.offset_msg_id
    return MessageExt(
        topic=view.topic,
        body=bytes(view.body),
        flag=view.flag,
        properties=properties,
        queue_id=view.queue_id,
        queue_offset=view.queue_offset,
        physical_offset=view.physical_offset,
        store_size=view.size,
        sys_flag=view.sys_flag,
        body_crc=view.body_crc,
        born_timestamp=view.born_timestamp,
        born_host=view.born_host,
        store_timestamp=view.store_timestamp,
        store_host=view.store_host,
        reconsume_times=view.reconsume_times,
        prepared_transaction_offset=view.prepared_transaction_offset,
        msg_id=properties.get(UNIQ_CLIENT_MESSAGE_ID_KEYIDX, offset_id),
        offset_msg_id=offset_id,
    )


def store_again(
    message: MessageExt | RecordView, *, topic: str, queue_id: int, properties: bytes, wait_store_ok: bool
) -> StoreMessage:
    """A stored message as it goes to the store once more, to another place: what its sender said of it is kept."""
    return StoreMessage(
        topic=topic,
        queue_id=queue_id,
        body=bytes(message.body),
        properties=properties,
        flag=message.flag,
        sys_flag=message.sys_flag,
        born_timestamp=message.born_timestamp,
        born_host=message.born_host,
        store_host=message.store_host,
        reconsume_times=message.reconsume_times,
        wait_store_ok=wait_store_ok,
    )


def iterate_records(buffer: bytes | memoryview) -> Iterator[RecordView]:
    """The records that stand one behind another in `buffer`, up to its end.

    Raises: RemoteProtocolError at the first bytes that are no whole record.
    """
    position = 0
    while position < len(buffer):
        view = RecordView(buffer, position)
        yield view
        position = view.end


def decode_records(buffer: bytes | memoryview, *, check_crc: bool = False) -> list[MessageExt]:
    """All records of a pull or query body."""
    return [decode_record(buffer, view.start, check_crc=check_crc) for view in iterate_records(buffer)]
