"""Malformed frames at running servers: that connection is closed, nobody else notices, nothing is spent on them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.conftest import Server
from tests.e2e.raw_peer import (
    BINARY,
    JSON,
    Peer,
    ProcessCost,
    binary_header,
    frame,
    json_header,
    request,
)

pytestmark = pytest.mark.xdist_group("bad-input-shared")

CPU_MS_MAX = 150.0
"""Of the event loop's thread, for one input and the question after it."""

RSS_MIB_MAX = 24.0
"""More than the largest accepted frame; what a server may hold on to after an attack."""

ROUTE = 105
FRAME_BYTES_MAX = 16 * 1024 * 1024
HEADER_BYTES_MAX = 256 * 1024


def length(total: int) -> bytes:
    return struct.pack(">i", total) + b"\0\0\0\x10more"


def json_frame(text: str | bytes) -> bytes:
    return frame(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))


def binary_frame(*, remark_length: int = 0, ext: bytes = b"", ext_length: int | None = None) -> bytes:
    size = len(ext) if ext_length is None else ext_length
    return frame(struct.pack(">hbhiiii", ROUTE, 0, 513, 1, 0, remark_length, size) + ext, kind=BINARY)


def many_fields(count: int) -> str:
    return ",".join(f'"k{index}":"v"' for index in range(count))


LENGTHS = {
    "0": length(0),
    "3": length(3),
    "-1": length(-1),
    "smallest": length(-(2**31)),
    "largest": length(2**31 - 1),
    "GET": b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 500,
    "PROXY": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    "one too large": length(FRAME_BYTES_MAX - 4 + 1),
}
HEADERS = {
    "longer than the frame": frame(json_header(ROUTE), header_length=5_000),
    "longest": frame(json_header(ROUTE), header_length=0xFFFFFF),
    "above its bound": frame(b"{" + b" " * HEADER_BYTES_MAX + b"}"),
    "serialize type 7": frame(json_header(ROUTE), kind=7),
    "serialize type 255": frame(json_header(ROUTE), kind=255),
    "none": frame(b""),
}
JSONS = {
    "depth 17 in a field": json_frame('{"code":105,"extFields":{"a":' + "[" * 17 + "]" * 17 + "}}"),
    "depth 10,000 in a field": json_frame('{"code":105,"extFields":{"a":' + "[" * 10_000 + "]" * 10_000 + "}}"),
    "depth 120,000": json_frame("[" * 120_000),
    "objects in objects": json_frame('{"a":' * 40_000),
    "depth in an unknown member": json_frame('{"code":105,"x":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "opaque of 5,000 digits": json_frame('{"code":105,"opaque":' + "9" * 5_000 + "}"),
    "code of 200,000 digits": json_frame('{"code":' + "9" * 200_000 + "}"),
    "field of 200,000 digits": json_frame('{"code":105,"extFields":{"topic":' + "9" * 200_000 + "}}"),
    "opaque above 32 bits": json_frame('{"code":105,"opaque":2147483648}'),
    "exponent 999": json_frame('{"code":105,"extFields":{"topic":1e999}}'),
    "NaN": json_frame('{"code":105,"opaque":NaN}'),
    "NaN in a field": json_frame('{"code":105,"extFields":{"topic":NaN}}'),
    "Infinity": json_frame('{"code":-Infinity}'),
    "code as text": json_frame('{"code":"105"}'),
    "half a surrogate pair, escaped": json_frame('{"code":105,"extFields":{"topic":"\\ud800"}}'),
    "half a surrogate pair as a key": json_frame('{"code":105,"extFields":{"\\udfff":"x"}}'),
    "half a surrogate pair in the remark": json_frame('{"code":105,"remark":"\\udfff"}'),
    "half a surrogate pair, raw": json_frame('{"code":105,"extFields":{"topic":"\ud800"}}'),
    "not UTF-8": json_frame(b'{"code":105,"extFields":{"topic":"\xff\xfe"}}'),
    "1,025 fields": json_frame('{"code":105,"extFields":{' + many_fields(1_025) + "}}"),
    "20,000 fields": json_frame('{"code":105,"extFields":{' + many_fields(20_000) + "}}"),
    "100,000 fields": json_frame('{"code":105,"extFields":{' + many_fields(100_000) + "}}"),
    "key of 1 MiB": json_frame(b'{"code":105,"extFields":{"' + b"k" * (1 << 20) + b'":"v"}}'),
    "list": json_frame("[]"),
    "number": json_frame("105"),
    "null": json_frame("null"),
    "fields as a list": json_frame('{"code":105,"extFields":[]}'),
    "more behind the object": json_frame('{"code":105}{}'),
    "cut": json_frame('{"code":105,"extFields":{"topic":"T"'),
}
BINARIES = {
    "empty": frame(b"", kind=BINARY),
    "cut in the fixed part": frame(binary_header(ROUTE)[:20], kind=BINARY),
    "negative remark": binary_frame(remark_length=-1),
    "remark of 2 GiB": binary_frame(remark_length=2**31 - 1),
    "negative fields": binary_frame(ext_length=-1),
    "fields longer than the header": binary_frame(ext_length=100_000),
    "negative key": binary_frame(ext=struct.pack(">hi", -1, 0)),
    "key longer than the fields": binary_frame(ext=struct.pack(">hi", 0x7FFF, 0)),
    "negative value": binary_frame(ext=struct.pack(">hci", 1, b"a", -5)),
    "value longer than the fields": binary_frame(ext=struct.pack(">hci", 1, b"a", 2**31 - 1)),
    "cut in a key length": binary_frame(ext=b"\0"),
    "not UTF-8": frame(binary_header(ROUTE, remark=b"\xff\xff"), kind=BINARY),
    "40,000 fields": binary_frame(ext=b"\0" * 6 * 40_000),
}


@pytest.fixture
def witness(attacked: Server) -> Iterator[Peer]:
    """Another client of the same server: answered before and after, on the same connection."""
    with Peer(attacked.address) as peer:
        peer.ask(ROUTE, {"topic": "before"})
        yield peer
        peer.ask(ROUTE, {"topic": "after"})


def closes_that_connection_only(server: Server, witness: Peer, attacks: dict[str, bytes]) -> None:
    cost = ProcessCost(server.pid)
    with Peer(server.address) as warm:
        warm.write(frame(b"{"))
        assert warm.closed_without_answer()
    rss_before = cost.rss_mib()

    def attack(name: str, data: bytes) -> None:
        with Peer(server.address) as attacker:
            attacker.write(data)
            assert attacker.closed_without_answer(), f"{name}: not closed"
            witness.ask(ROUTE, {"topic": "T"})

    for name, data in attacks.items():
        spent = cost.cpu_ms_of(partial(attack, name, data), CPU_MS_MAX)
        assert spent < CPU_MS_MAX, f"{name}: {spent:.0f} ms of processor time"
    assert cost.rss_mib() - rss_before < RSS_MIB_MAX


def test_impossible_lengths_close_that_connection_only(attacked: Server, witness: Peer) -> None:
    closes_that_connection_only(attacked, witness, LENGTHS)


def test_headers_that_do_not_fit_close_that_connection_only(attacked: Server, witness: Peer) -> None:
    closes_that_connection_only(attacked, witness, HEADERS)


def test_json_headers_beyond_the_bounds_close_that_connection_only(attacked: Server, witness: Peer) -> None:
    closes_that_connection_only(attacked, witness, JSONS)


def test_binary_headers_that_lie_close_that_connection_only(attacked: Server, witness: Peer) -> None:
    closes_that_connection_only(attacked, witness, BINARIES)


def test_nothing_is_allocated_for_a_frame_that_is_only_announced(attacked: Server, witness: Peer) -> None:
    cost = ProcessCost(attacked.pid)
    before = cost.rss_mib()
    peers = [Peer(attacked.address) for _ in range(100)]
    for peer in peers:
        peer.write(struct.pack(">iI", FRAME_BYTES_MAX - 4, 100) + b"{")
    witness.ask(ROUTE, {"topic": "T"})
    assert cost.rss_mib() - before < RSS_MIB_MAX, "100 frames of 16 MiB are announced, a byte of each has come"
    for peer in peers:
        peer.close()


def test_the_largest_frame_is_accepted_and_one_byte_more_is_not(attacked: Server, witness: Peer) -> None:
    header = json_header(-7)
    body = bytes(FRAME_BYTES_MAX - 8 - len(header))
    with Peer(attacked.address) as peer:
        peer.write(frame(header, body))
        assert peer.read().code == 3
        peer.write(frame(header, body + b"x"))
        assert peer.closed_without_answer()


def test_headers_at_their_bounds_are_served(attacked: Server, witness: Peer) -> None:
    deep = '{"code":-7,"opaque":1,"extFields":{"a":' + "[" * 15 + "]" * 15 + "}}"
    fields = '{"code":-7,"opaque":1,"extFields":{' + many_fields(1_024) + "}}"
    long = b'{"code":-7,"opaque":1}'.ljust(HEADER_BYTES_MAX)
    for text in (deep, fields, long):
        with Peer(attacked.address) as peer:
            peer.write(json_frame(text))
            assert peer.read().code == 3


def test_the_last_of_two_equal_members_counts(attacked: Server, witness: Peer) -> None:
    with Peer(attacked.address) as peer:
        peer.write(json_frame('{"code":1,"code":-7,"opaque":1,"opaque":2,"extFields":{"a":"x","a":"y"}}'))
        answer = peer.read()
    assert (answer.code, answer.opaque) == (3, 2)


def test_whole_requests_before_a_bad_frame_are_answered(attacked: Server, witness: Peer) -> None:
    with Peer(attacked.address) as peer:
        peer.write(request(-7, {}, opaque=5) + length(0))
        assert peer.read().opaque == 5
        assert peer.closed_without_answer()


def test_answers_nobody_asked_for_and_requests_without_answers_are_swallowed(attacked: Server, witness: Peer) -> None:
    with Peer(attacked.address) as peer:
        peer.write(frame(json_header(0, flag=1, opaque=77)))  # an answer
        peer.write(frame(json_header(-7, flag=2, opaque=78)))  # oneway, of a code that is not supported
        assert peer.ask(-7).code == 3, "neither was answered, and the connection goes on"


def test_hundreds_of_bad_connections_leave_nothing_behind(attacked: Server, witness: Peer) -> None:
    cost = ProcessCost(attacked.pid)
    data = JSONS["20,000 fields"]
    for _ in range(20):
        with Peer(attacked.address) as peer:
            peer.write(data)
            assert peer.closed_without_answer()
    before, files = cost.rss_mib(), cost.open_files()
    for count in range(500):
        with Peer(attacked.address) as peer:
            peer.write(data if count % 10 == 0 else LENGTHS["GET"])
            assert peer.closed_without_answer()
    assert cost.rss_mib() - before < 8
    assert cost.open_files() <= files + 2


def test_serialize_types_may_change_from_frame_to_frame(attacked: Server, witness: Peer) -> None:
    with Peer(attacked.address) as peer:
        for kind in (JSON, BINARY, JSON, BINARY):
            answer = peer.ask(-7, {"a": "b"}, kind=kind)
            assert (answer.code, answer.serialize_type) == (3, kind), "answered in the kind of the request"
