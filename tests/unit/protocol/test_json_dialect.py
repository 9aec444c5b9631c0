"""The official peers' JSON: every recorded body and config file reads; what we write, they can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gantry.errors import RemoteProtocolError
from gantry.model import BrokerData, MessageQueue, QueueData, TopicRouteData
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.route import decode_route, encode_route
from tests.golden import FRAME_SETS, GOLDEN, frame_bytes, frame_index


@pytest.mark.parametrize("name", FRAME_SETS)
def test_every_recorded_json_body_reads_and_round_trips(name: str) -> None:
    seen = 0
    for line in frame_index(name):
        body = frame_bytes(name, line)[8 + line["headerLength"] :]
        if body[:1] not in (b"{", b"["):
            continue
        value = json_dialect.decode(body)
        assert json_dialect.decode(json_dialect.encode(value)) == value, line["file"]
        seen += 1
    assert seen > 10


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("**/config/**/*.json")), ids=lambda path: str(path.relative_to(GOLDEN)))
def test_every_recorded_config_file_reads_and_round_trips(path: Path) -> None:
    value = json_dialect.decode(path.read_bytes())
    assert json_dialect.decode(json_dialect.encode(value, pretty=True)) == value


def test_bare_keys() -> None:
    assert json_dialect.decode(b'{0:"a", -1 : "b","2":"c"}') == {0: "a", -1: "b", "2": "c"}
    queue = MessageQueue("T", "b", 3)
    assert json_dialect.decode(b'{{"brokerName":"b","queueId":3,"topic":"T"}:5}') == {queue: 5}
    assert json_dialect.encode({queue: 5}) == b'{{"brokerName":"b","queueId":3,"topic":"T"}:5}'
    quoted = json.dumps({"brokerName": "b", "queueId": 3, "topic": "T"})
    assert json_dialect.message_queue_key(quoted) == queue
    assert json_dialect.message_queue_key("nothing of the kind") is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{0}",
        b'{0:"a"',
        b"[1,,2]",
        b"{0:1 1:2}",
        b'{0:"a"} x',
        b"\xff",
        b"{0:" + b"[" * 100 + b"]" * 100 + b"}",
        b"{0:" + b"9" * 100 + b"}",
        b"{0:'a}",
        b'{0:"\\x"}',
        b"nul",
        b"{0:-}",
    ],
)
def test_what_is_no_json_in_any_dialect_is_a_declared_error(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        json_dialect.decode(text)


def route() -> TopicRouteData:
    return TopicRouteData(
        queue_datas=[QueueData("broker-ä", 4, 4, 6, 0)],
        broker_datas=[BrokerData("c", "broker-ä", {0: "127.0.0.1:10911", 1: "127.0.0.1:10921"})],
    )


def test_a_route_for_old_peers_has_bare_keys_and_for_new_ones_quoted() -> None:
    old = encode_route(route(), version=317, accept_standard_json_only=False)
    assert b'"brokerAddrs":{0:"127.0.0.1:10911",1:"127.0.0.1:10921"}' in old
    assert "broker-ä".encode() in old
    for new in (
        encode_route(route(), version=401, accept_standard_json_only=False),
        encode_route(route(), version=0, accept_standard_json_only=True),
    ):
        assert json.loads(new)["brokerDatas"][0]["brokerAddrs"] == {"0": "127.0.0.1:10911", "1": "127.0.0.1:10921"}
        assert new.isascii()
        assert b" " not in new
    assert decode_route(old) == decode_route(new) == route()


def test_half_a_surrogate_pair_is_written_as_java_writes_it() -> None:
    assert json_dialect.decode(b'{"a":"\\ud83d\\ude00"}') == {"a": "\U0001f600"}
    assert json_dialect.encode({"\ud800": "x\udfffy"}) == b'{"?":"x?y"}'
