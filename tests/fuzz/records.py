"""Any bytes are stored records, a batch, or a declared error; what was read is written and read back as the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from gantry.errors import RemoteProtocolError
from gantry.model import StoreMessage
from gantry.protocol.message import decode_batch, decode_record, decode_records, encode_batch, encode_record
from gantry.protocol.message.record import iterate_records
from tests.golden import GOLDEN

SEED_BYTES = 2048


def seeds() -> Iterable[bytes]:
    """The first records of logs that an official broker wrote, and a batch of what their bodies hold."""
    for path in sorted(GOLDEN.glob("stores/*/commitlog/*")):
        data = path.read_bytes()
        yield data[: int.from_bytes(data[:4], "big")]
        yield data[:SEED_BYTES]
    yield from (b"", bytes(91))


def check(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        elements = decode_batch(data)
        assert decode_batch(encode_batch(elements)) == elements
    with contextlib.suppress(RemoteProtocolError):
        decode_records(data, check_crc=True)
    with contextlib.suppress(RemoteProtocolError):
        for view in iterate_records(data):
            found = decode_record(data, view.start)
            message = StoreMessage(
                found.topic,
                found.queue_id,
                found.body,
                bytes(view.properties),
                found.flag,
                found.sys_flag,
                found.born_timestamp,
                found.born_host,
                found.store_host,
                found.reconsume_times,
                found.prepared_transaction_offset,
            )
            again = encode_record(
                message,
                queue_offset=found.queue_offset,
                physical_offset=found.physical_offset,
                store_timestamp=found.store_timestamp,
            )
            read = decode_record(again, check_crc=True)
            # The CRC may have been wrong, and a short topic in the long form takes a byte less.
            found.body_crc, found.store_size = read.body_crc, read.store_size
            assert read == found
