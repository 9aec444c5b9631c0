"""Any header bytes give a command or a declared error, its fields a request's header or one, and headers read back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules

from gantry.errors import RemoteProtocolError
from gantry.protocol.remoting import Frame, decode_frame, header
from gantry.protocol.remoting.header.base import RequestHeader
from tests.golden import FRAME_SETS, frame_bytes, frame_index

for module in iter_modules(header.__path__):
    import_module(f"{header.__name__}.{module.name}")
HEADERS = sorted(RequestHeader.__subclasses__(), key=lambda kind: kind.__name__)
SEEDS_MAX = 300


def seeds() -> Iterable[bytes]:
    """Headers of recorded requests, behind their serialization and the number of the class that reads them."""
    numbers = {kind.CODE: number for number, kind in enumerate(HEADERS)}
    for name in FRAME_SETS:
        for line in frame_index(name)[:SEEDS_MAX]:
            data = frame_bytes(name, line)
            text = data[8 : 8 + int.from_bytes(data[5:8], "big")]
            command = decode_frame(Frame(data[4], text, b""))
            yield bytes((data[4], numbers.get(command.code, 0))) + text


def check(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        command = decode_frame(Frame(data[0] if data else 0, data[2:], b""))
        kind = HEADERS[(data[1] if data[1:] else 0) % len(HEADERS)]
        found = kind.decode(command.ext_fields)
        assert kind.decode(found.encode()) == found
