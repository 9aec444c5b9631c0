"""JSON bodies that are wrong, or that ask for more work than they are worth: refused with a sentence, whatever they are."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from collections.abc import Callable

import msgspec
import pytest

from gantry.errors import RemoteProtocolError
from gantry.model import MessageQueue
from gantry.model.heartbeat import HeartbeatData
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.consumer import decode_queue_table
from gantry.protocol.remoting.body.heartbeat import decode_heartbeat
from gantry.protocol.remoting.body.lock_batch import decode_lock_batch
from gantry.protocol.remoting.body.register_broker_body import TOPICS_MAX, decode_register_broker_body
from gantry.protocol.remoting.command import RemotingCommand, decode_frame, encode_command
from gantry.protocol.remoting.frame import FrameDecoder

READERS: dict[str, Callable[[bytes], object]] = {
    "heartbeat": decode_heartbeat,
    "locks": decode_lock_batch,
    "registration": lambda body: decode_register_broker_body(body, version=513),
    "queue table": lambda body: decode_queue_table(body, "offsetTable"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("depth", [63, 65, 300, 500, 900, 1_000, 5_000])
@pytest.mark.parametrize("shape", ["lists", "objects", "bare key", "object keys", "known member"])
def test_no_depth_breaks_a_reader(reader: str, depth: int, shape: str) -> None:
    lists = b"[" * depth + b"]" * depth
    body = {
        "lists": lists,
        "objects": b'{"a":' * depth + b"1" + b"}" * depth,
        "bare key": b"{0:" + lists + b"}",
        "object keys": b"{" * depth,
        "known member": b'{"consumerDataSet":' + lists + b',"mqSet":' + lists + b',"topicConfigTable":' + lists + b"}",
    }[shape]
    with contextlib.suppress(RemoteProtocolError):
        READERS[reader](body)


@pytest.mark.parametrize(
    "text",
    [
        '{{"brokerName":"b","queueId":"x","topic":"T"}:1}',
        '{{"brokerName":"b","queueId":[],"topic":"T"}:1}',
        '{{"brokerName":"b","queueId":1.5,"topic":"T"}:1}',
        '{{"brokerName":{},"queueId":1,"topic":"T"}:1}',
    ],
)
def test_an_object_key_that_is_no_queue_stays_text(text: str) -> None:
    (key,) = json_dialect.decode(text.encode())
    assert isinstance(key, str)
    assert json_dialect.message_queue_key(key) is None


def test_an_object_key_with_its_number_as_text_is_a_queue() -> None:
    assert list(json_dialect.decode(b'{{"brokerName":"b","queueId":"7","topic":"T"}:1}')) == [MessageQueue("T", "b", 7)]


def test_half_a_surrogate_pair_is_refused_with_a_sentence() -> None:
    with pytest.raises(RemoteProtocolError, match="half a surrogate pair"):
        json_dialect.decode_as(b'{"producerDataSet":"\\ud800"}', HeartbeatData)


@pytest.mark.parametrize("serialize_type", [0, 1])
def test_an_answer_with_half_a_surrogate_pair_can_be_sent(serialize_type: int) -> None:
    """A remark often repeats what a body said; without an answer its sender would wait for nothing."""
    command = RemotingCommand(29, flag=1, remark="\ud800 x", ext_fields={"a": "\udfff"}, serialize_type=serialize_type)
    decoder = FrameDecoder()
    decoder.receive_data(encode_command(command))
    frame = decoder.next_frame()
    assert frame is not None
    answer = decode_frame(frame)
    assert (answer.code, answer.remark, answer.ext_fields) == (29, "? x", {"a": "?"})


# -- bounds -----------------------------------------------------------------------------------------------------------


class Small(msgspec.Struct):
    name: str = ""


def test_what_is_not_asked_for_is_not_built() -> None:
    body = b'{"x":[' + b"[]," * 300_000 + b'0],"name":"n"}'
    tracemalloc.start()
    try:
        assert json_dialect.decode_request(body, Small) == Small("n")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b" " * (json_dialect.REQUEST_BYTES_MAX + 1), "JSON body of 1048577 bytes, more than 1048576"),
        (b"{}," * 20_001, "may have 20001 objects, more than 20000"),
        (b"{0:[" + b"1," * 10_000 + b"1]}", "may have 10002 values, more than 10000"),
        (b'{"name":null,"x":[' + b"1," * 10_000 + b"1]}", "may have 10003 values, more than 10000"),
    ],
)
def test_a_request_that_asks_for_much_work_is_refused_before_it_is_done(body: bytes, said: str) -> None:
    with pytest.raises(RemoteProtocolError, match=said):
        json_dialect.decode_request(body, Small)


def test_the_most_work_a_request_may_ask_for_is_bounded() -> None:
    bodies = [
        b'{"clientID":null,"consumerDataSet":[' + b"{}," * 4_900 + b"{}]}",
        b"{" + b",".join(b"%d:1" % i for i in range(9_990)) + b"}",
        b'{"consumerDataSet":[' + b"{}," * 19_000 + b"{}]}",
    ]
    for body in bodies:
        best = float("inf")
        for _ in range(10):  # 17 ms left alone, up to 50 on a busy machine; unbounded, it would be seconds
            began = time.thread_time()
            with contextlib.suppress(RemoteProtocolError):
                decode_heartbeat(body)
            best = min(best, time.thread_time() - began)
        assert best < 0.15


def test_large_real_bodies_are_within_the_bounds() -> None:
    subscription = (
        '{"topic":"topic-of-some-length-%d","subString":"TagA || TagB","tagsSet":["TagA","TagB"],"codeSet":[2598919,2598920],'
        '"subVersion":1712345678901,"expressionType":"TAG","classFilterMode":false}'
    )
    subscriptions = ",".join(subscription % index for index in range(4_000))
    beat = decode_heartbeat(
        f'{{"clientID":"c","consumerDataSet":[{{"groupName":"g","subscriptionDataSet":[{subscriptions}]}}]}}'.encode()
    )
    assert len(beat.consumer_data_set[0].subscription_data_set) == 4_000
    queue = '{"brokerName":"broker-a","queueId":%d,"topic":"T"}'
    locks = decode_lock_batch(f'{{"clientId":"c","mqSet":[{",".join(queue % i for i in range(10_000))}]}}'.encode())
    assert len(locks.mq_set) == 10_000
    table = decode_queue_table(
        ('{"offsetTable":{' + ",".join(queue % index + ":5" for index in range(10_000)) + "}}").encode(), "offsetTable"
    )
    assert len(table) == 10_000


def test_registrations_ask_for_a_bounded_number_of_topics() -> None:
    with pytest.raises(RemoteProtocolError, match=f"may have more than {TOPICS_MAX} topics"):
        decode_register_broker_body(b"{}," * (2 * TOPICS_MAX + 1), version=513)
    with pytest.raises(RemoteProtocolError, match=r"may have \d+ values, more than 100000"):
        decode_register_broker_body(b"{0:[" + b"1," * 100_000 + b"1]}", version=513)


def test_the_older_form_of_a_registration_is_read_in_one_go_too() -> None:
    topics = ",".join(f'"t{i}":{{"topicName":"t{i}","readQueueNums":4}}' for i in range(30_000))
    found = decode_register_broker_body(f'{{"topicConfigTable":{{{topics}}}}}'.encode(), version=30)
    assert len(found.topic_config_serialize_wrapper.topic_config_table) == 30_000
