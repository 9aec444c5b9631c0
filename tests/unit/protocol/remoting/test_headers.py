"""Declared headers read what official peers wrote, and say clearly what is wrong."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from gantry.errors import HeaderFieldError
from gantry.protocol.remoting import RequestCode
from gantry.protocol.remoting import header as header_room
from gantry.protocol.remoting.header import RequestHeader
from gantry.protocol.remoting.header.pull_message import PullMessageRequestHeader
from gantry.protocol.remoting.header.send_message_v2 import SendMessageRequestHeaderV2
from tests.golden import frame_index

for module in pkgutil.iter_modules(header_room.__path__):
    importlib.import_module(f"{header_room.__name__}.{module.name}")

# Only the declared ones: other tests define headers of their own in the same process.
KINDS = [kind for kind in RequestHeader.__subclasses__() if kind.__module__.startswith(header_room.__name__) and kind.CODE]
BY_CODE = {kind.CODE: kind for kind in KINDS}
SAME_HEADER = {
    RequestCode.SEND_BATCH_MESSAGE: RequestCode.SEND_MESSAGE_V2,
    RequestCode.LITE_PULL_MESSAGE: RequestCode.PULL_MESSAGE,
}
# Carried by any request, or read elsewhere than in the header's own declaration.
COMMON = {
    "ns",
    "nsd",
    "bname",
    "oway",
    "lo",
    "nsAcl",
    "AccessKey",
    "Signature",
    "_UNIQUE_KEY_QUERY",
    "namespace",
    "namespaced",
    "unitMode",
    "brokerName",
    "zoneName",
    "ReqT",
}


def test_each_request_code_has_one_header() -> None:
    assert len(BY_CODE) == len(KINDS)
    assert len(BY_CODE) > 55


@pytest.mark.parametrize("name", ["json", "rocketmq"])
def test_recorded_requests_decode_and_encode_back_without_losing_a_field(name: str) -> None:
    seen = 0
    for line in frame_index(name):
        code = line["code"]
        kind = BY_CODE.get(SAME_HEADER.get(code, code))
        fields = line.get("extFields") or {}
        if line["kind"] == "res" or kind is None:
            continue
        again = kind.decode(fields).encode()
        unknown = fields.keys() - again.keys() - COMMON
        assert not unknown, f"{name}/{line['file']}: {kind.__name__} does not declare {unknown}"
        for key, value in again.items():
            if key in fields:
                assert fields[key] == value, f"{name}/{line['file']}: {key}"
        seen += 1
    assert seen > 50


def test_a_missing_field_is_named() -> None:
    with pytest.raises(HeaderFieldError, match="consumerGroup is missing"):
        PullMessageRequestHeader.decode({})


@pytest.mark.parametrize("value", ["", "x", "1.5", "99999999999", "2147483648", "9" * 5000, "٣"])
def test_a_number_that_is_none_is_named(value: str) -> None:
    fields = {
        "consumerGroup": "g",
        "topic": "t",
        "queueId": value,
        "queueOffset": "0",
        "maxMsgNums": "1",
        "sysFlag": "0",
        "commitOffset": "0",
        "suspendTimeoutMillis": "0",
        "subVersion": "0",
    }
    with pytest.raises(HeaderFieldError, match="queueId"):
        PullMessageRequestHeader.decode(fields)


def test_short_and_long_send_headers_say_the_same() -> None:
    fields = {
        "a": "g",
        "b": "t",
        "c": "TBW102",
        "d": "4",
        "e": "1",
        "f": "0",
        "g": "5",
        "h": "0",
        "i": "K\x01v\x02",
        "j": "0",
        "k": "false",
        "l": "3",
        "m": "false",
    }
    short = SendMessageRequestHeaderV2.decode(fields)
    assert SendMessageRequestHeaderV2.from_v1(short.to_v1()).encode() == fields
