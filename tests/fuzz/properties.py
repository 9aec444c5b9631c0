"""Any bytes are a property string: one property found alone is the one in the map, and maps read back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from gantry.errors import LocalProtocolError
from gantry.protocol.message import decode_properties, encode_properties, find_property
from gantry.protocol.message.record import iterate_records
from tests.golden import GOLDEN

NAMES = (b"KEYS", b"TAGS", b"UNIQ_KEY", b"WAIT")


def seeds() -> Iterable[bytes]:
    yield from (b"", b"KEYS\x01k", b"KEYS\x01\x02KEYS\x01b\x02", b"aTAGS\x01x\x02TAGS\x01y\x01z\x02", "ü\x01é\x02".encode())
    path = min(GOLDEN.glob("stores/clean/commitlog/*"))
    data = path.read_bytes()
    yield bytes(next(iterate_records(data)).properties)


def check(data: bytes) -> None:
    properties = decode_properties(data)
    for name in {*NAMES, *(name.encode() for name in properties if "\ufffd" not in name)}:
        found = find_property(data, name)
        assert (None if found is None else found.decode("utf-8", "replace")) == properties.get(name.decode())
    with contextlib.suppress(LocalProtocolError):
        assert decode_properties(encode_properties(properties)) == properties
