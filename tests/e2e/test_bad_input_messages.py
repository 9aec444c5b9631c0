"""Sends, pulls and offsets that cannot be: the official code, and a remark that says what is wrong."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator

import pytest

from gantry.protocol.remoting.codes import RequestCode
from tests.e2e.raw_peer import (
    BINARY,
    HEART_BEAT,
    JSON,
    PULL,
    QUERY_OFFSET,
    SEND,
    UPDATE_OFFSET,
    Answer,
    Peer,
    ProcessCost,
    pull_fields,
    request,
    send_fields,
)
from tests.interop.cluster import GantryBroker

pytestmark = pytest.mark.xdist_group("bad-input-shared")

MAX_MESSAGE_SIZE = 4 * 1024 * 1024
UNIQUE = "UNIQ_KEY\x01AC10000100002A9F4E0E2F2A68AA0001\x02"
"""With it a send takes the short way, without it the long one: both must refuse alike."""

ILLEGAL = (
    "the message is illegal, maybe msg body or properties length not matched. msg body length limit 4194304B, msg properties "
    "length limit 32KB."
)
CHARACTERS = "allowing only ^[%|a-zA-Z0-9_-]+$"

_topics = itertools.count(1)


@pytest.fixture
def peer(broker: GantryBroker) -> Iterator[Peer]:
    with Peer(broker.address) as peer:
        yield peer


@pytest.fixture
def topic(peer: Peer) -> str:
    """A topic of its own for the test, with one message in queue 0."""
    name = f"BadInput{next(_topics)}"
    assert peer.ask(SEND, send_fields(name), b"first").code == 0
    return name


def end_of(peer: Peer, topic: str, queue_id: int = 0) -> int:
    return int(peer.ask(int(RequestCode.GET_MAX_OFFSET), {"topic": topic, "queueId": queue_id}).fields["offset"])


def physical_end(peer: Peer) -> int:
    """Where the log ends: whatever is refused must not be in it."""
    table = peer.ask(int(RequestCode.GET_BROKER_RUNTIME_INFO)).body
    found = re.search(rb'"commitLogMaxOffset":"(\d+)"', table)
    assert found is not None
    return int(found.group(1))


def refused(peer: Peer, fields: dict[str, object], body: bytes, code: int, remark: str) -> None:
    """The send is answered so, whichever way and form it comes, and the log stays as it was."""
    before = physical_end(peer)
    for unique in ("", UNIQUE):
        for kind in (JSON, BINARY):
            answer = peer.ask(SEND, {**fields, "properties": unique + str(fields.get("properties", ""))}, body, kind=kind)
            assert answer.code == code, answer
            assert remark in answer.remark
    assert physical_end(peer) == before, "a refused message is in no log"


# -- sizes ------------------------------------------------------------------------------------------------------------


def test_a_body_one_byte_too_long_is_refused_and_one_of_the_limit_is_not(peer: Peer, topic: str) -> None:
    assert peer.ask(SEND, send_fields(topic, properties=UNIQUE), bytes(MAX_MESSAGE_SIZE)).code == 0
    refused(peer, send_fields(topic), bytes(MAX_MESSAGE_SIZE + 1), 13, ILLEGAL)


def test_properties_above_32_767_bytes_are_refused(peer: Peer, topic: str) -> None:
    assert peer.ask(SEND, send_fields(topic, properties="k\x01" + "v" * 32_000 + "\x02"), b"x").code == 0
    refused(peer, send_fields(topic, properties="k\x01" + "v" * 32_765 + "\x02"), b"x", 13, "properties")


def test_a_hundred_thousand_properties_end_the_connection_or_are_refused(broker: GantryBroker, peer: Peer, topic: str) -> None:
    pairs = "".join(f"{index:x}\x01b\x02" for index in range(100_000))
    refused(peer, send_fields(topic, properties=pairs[:60_000]), b"x", 13, "properties")
    with Peer(broker.address) as attacker:
        attacker.write(request(SEND, send_fields(topic, properties=pairs), b"x"))
        assert attacker.closed_without_answer(), "a header of more than 256 KiB"


def test_properties_that_look_like_a_lost_sector_are_refused(peer: Peer, topic: str) -> None:
    assert peer.ask(SEND, send_fields(topic, properties=UNIQUE + "k\x01" + "\0" * 510 + "\x02"), b"x").code == 0
    zeros = "k\x01" + "\0" * 511 + "\x02"
    said = "have more than 510 of them in a row: after a crash the message would be taken for torn"
    refused(peer, send_fields(topic, properties=zeros), b"x", 13, said)
    before = physical_end(peer)
    body = member(b"one") + member(b"two", zeros.encode())
    for kind in (JSON, BINARY):
        answer = peer.ask(SEND, send_fields(topic, properties=UNIQUE, batch="true"), body, kind=kind)
        assert answer.code == 13, answer
        assert said in answer.remark
    assert physical_end(peer) == before
    # What the request itself says of a batch is stored with none of its members.
    body = member(b"one") + member(b"two")
    assert peer.ask(SEND, send_fields(topic, properties=UNIQUE + zeros, batch="true"), body).code == 0


def test_separators_inside_properties_do_no_harm(peer: Peer, topic: str) -> None:
    strange = UNIQUE + "a\x01b\x01c\x02\x02\x01\x02\x01\x01\x02\x01v\x02k\x01\x02z"
    assert peer.ask(SEND, send_fields(topic, properties=strange), b"strange").code == 0
    answer = peer.ask(PULL, pull_fields(topic, 0, end_of(peer, topic) - 1))
    assert (answer.code, answer.remark) == (0, "FOUND")
    assert b"strange" in answer.body


# -- batches ----------------------------------------------------------------------------------------------------------


def member(body: bytes = b"", properties: bytes = b"", *, size: int | None = None) -> bytes:
    whole = struct.pack(">iii", 0, 0, 0) + struct.pack(">i", len(body)) + body + struct.pack(">h", len(properties)) + properties
    return struct.pack(">i", 4 + len(whole) if size is None else size) + whole


EMPTY = member()


@pytest.mark.parametrize(
    ("body", "remark"),
    [
        (EMPTY * 750_000, ILLEGAL),  # 16 MiB of them
        (EMPTY * 100_000, "the batch is malformed: batch of more than 32768 messages"),
        (b"\0" * 1_000, "the batch is malformed: batch member at byte 0 says 0 bytes and has 22"),
        (b"", "the batch holds no message"),
        (EMPTY * 3 + EMPTY[:10], "the batch is malformed: batch member at byte 66 has 10 bytes; 22 are needed"),
        (member(size=-5), "the batch is malformed: batch member at byte 0 says -5 bytes and has 22"),
        (member(size=2**31 - 1), "the batch is malformed: batch member at byte 0 says 2147483647 bytes and has 22"),
        (struct.pack(">iiiiih", 22, 0, 0, 0, -1, 0), "batch member at byte 0 announces a body of -1 bytes"),
        (struct.pack(">iiiiih", 22, 0, 0, 0, 2**31 - 1, 0), "batch member at byte 0 announces a body of 2147483647 bytes"),
        (struct.pack(">iiiiih", 22, 0, 0, 0, 0, -1), "batch member at byte 0 announces -1 bytes of properties"),
    ],
)
def test_impossible_batches_are_refused_as_a_whole(
    broker_cost: ProcessCost, peer: Peer, topic: str, body: bytes, remark: str
) -> None:
    rss = broker_cost.rss_mib()
    # Four times, two of them looked at by the short way first.
    limit = 4 * 100
    assert broker_cost.cpu_ms_of(lambda: refused(peer, send_fields(topic, batch=True), body, 13, remark), limit) < limit
    assert broker_cost.rss_mib() - rss < 50


# -- topics and queues ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("", "The specified topic is blank."),
        ("../../x", f"The specified topic: ../../x, contains illegal characters, {CHARACTERS}"),
        ("/etc/passwd", f"The specified topic: /etc/passwd, contains illegal characters, {CHARACTERS}"),
        ("a\0b", CHARACTERS),
        (".", f"The specified topic: ., contains illegal characters, {CHARACTERS}"),
        ("..", CHARACTERS),
        ("tøpic", CHARACTERS),
        ("a b", CHARACTERS),
        ("a\r\nb", CHARACTERS),
        ("ab\n", CHARACTERS),
        ("a" * 128, "is longer than topic max length: 127"),
        ("%RETRY%" + "a" * 300, "it's longer than topic max length: 255"),
    ],
)
def test_bad_topic_names_are_refused_with_the_validators_remark(
    broker: GantryBroker, peer: Peer, name: str, remark: str
) -> None:
    before = {path.name for path in broker.store.rglob("*")}
    refused(peer, send_fields(name), b"x", 29, remark)
    assert {path.name for path in broker.store.rglob("*")} <= before | {"0", "00000000000000000000"}


@pytest.mark.parametrize("name", ["SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC"])
def test_forbidden_system_topics_are_refused(peer: Peer, name: str) -> None:
    refused(peer, send_fields(name), b"x", 16, f"Sending message to topic[{name}] is forbidden.")


def test_a_missing_topic_that_may_not_be_created_is_refused(peer: Peer) -> None:
    remark = "topic[NeverMade] not exist, apply first please!"
    refused(peer, send_fields("NeverMade", defaultTopic="AlsoNot"), b"x", 17, remark)
    answer = peer.ask(PULL, pull_fields("NeverMade"))
    assert (answer.code, remark in answer.remark) == (17, True)


def test_unknown_queues_are_refused(peer: Peer, topic: str) -> None:
    for queue_id in (4, 1_000, 2**31 - 1):
        remark = f"request queueId[{queue_id}] is illegal, TopicConfig [topicName="
        refused(peer, send_fields(topic, queue_id), b"x", 29, remark)
    for queue_id in (-1, 4, 2**31 - 1, -(2**31)):
        answer = peer.ask(PULL, pull_fields(topic, queue_id))
        expected = f"queueId[{queue_id}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[4] consumer:["
        assert (answer.code, answer.remark.startswith(expected)) == (29, True), answer


def set_topic(peer: Peer, name: str, **more: object) -> Answer:
    fields = {
        "topic": name,
        "defaultTopic": "TBW102",
        "readQueueNums": 4,
        "writeQueueNums": 4,
        "perm": 6,
        "topicFilterType": "SINGLE_TAG",
        "topicSysFlag": 0,
        "order": False,
        **more,
    }
    return peer.ask(int(RequestCode.UPDATE_AND_CREATE_TOPIC), fields)


@pytest.mark.parametrize(
    ("more", "remark"),
    [
        ({"readQueueNums": -1}, "has readQueueNums -1, allowed are 0 to 65536."),
        ({"writeQueueNums": 2**31 - 1}, "has writeQueueNums 2147483647, allowed are 0 to 65536."),
        ({"topicFilterType": "ANY"}, "topicFilterType = [ANY] value invalid"),
        ({"perm": 2**31 - 1}, "has perm 2147483647, allowed are 0 to 7."),
        ({"perm": -1}, "has perm -1, allowed are 0 to 7."),
        ({"topic": "../x"}, CHARACTERS),
        ({"topic": "TBW102"}, "The topic[TBW102] is conflict with system topic."),
        ({"attributes": "+no.such=1"}, "no.such"),
        ({"attributes": "+message.type=WEIRD"}, "value is not in set: [UNSPECIFIED, "),
        ({"attributes": "x" * 200_000}, ""),
    ],
)
def test_impossible_topics_are_refused(peer: Peer, more: dict[str, object], remark: str) -> None:
    answer = set_topic(peer, "Impossible", **more)
    assert answer.code != 0
    assert remark in answer.remark
    assert peer.ask(PULL, pull_fields("Impossible")).code == 17, "nothing was made"


def test_a_topic_without_permission_is_neither_read_nor_listed_as_writable(peer: Peer, topic: str) -> None:
    assert set_topic(peer, topic, perm=2).code == 0
    answer = peer.ask(PULL, pull_fields(topic))
    assert (answer.code, answer.remark, answer.fields["forbiddenType"]) == (
        16,
        f"the topic[{topic}] pulling message is forbidden",
        "3",
    )


def test_a_broker_without_permission_says_so(peer: Peer, topic: str) -> None:
    change = int(RequestCode.UPDATE_BROKER_CONFIG)
    try:
        assert peer.ask(change, {}, b"brokerPermission=2\n").code == 0
        answer = peer.ask(PULL, pull_fields(topic))
        assert (answer.code, answer.remark, answer.fields["forbiddenType"]) == (
            16,
            "the broker[127.0.0.1] pulling message is forbidden",
            "1",
        )
        assert peer.ask(change, {}, b"brokerPermission=4\n").code == 0
        assert set_topic(peer, topic, order=True).code == 0
        refused(peer, send_fields(topic), b"x", 16, "the broker[127.0.0.1] sending message is forbidden")
        back = {"offset": 0, "group": "attack-consumers", "delayLevel": 0}
        answer = peer.ask(int(RequestCode.CONSUMER_SEND_MSG_BACK), back)
        assert (answer.code, answer.remark) == (16, "the broker[127.0.0.1] sending message is forbidden")
    finally:
        assert peer.ask(change, {}, b"brokerPermission=6\n").code == 0


# -- forged properties ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "code", "remark"),
    [
        ({"sysFlag": 4}, 13, "a message with a transaction in its sysFlag must have the property TRAN_MSG"),
        ({"sysFlag": 8}, 13, "a message with a transaction in its sysFlag must have the property TRAN_MSG"),
        ({"sysFlag": 12}, 13, "a message with a transaction in its sysFlag must have the property TRAN_MSG"),
        ({"properties": "TIMER_DELAY_MS\x01soon\x02"}, 13, "timer message illegal"),
        ({"properties": "TIMER_DELAY_SEC\x01259201\x02"}, 13, "the max delay 259200000ms"),
        ({"properties": "DELAY\x01x\x02"}, 13, "the delay level 'x' is not a number"),
        ({"properties": "DELAY\x01" + "9" * 20_000 + "\x02"}, 13, "is not a number"),
    ],
)
def test_messages_that_cannot_be_kept_as_asked_are_refused(
    peer: Peer, topic: str, more: dict[str, object], code: int, remark: str
) -> None:
    refused(peer, send_fields(topic, **more), b"x", code, remark)


def test_forged_system_properties_move_no_message(peer: Peer, topic: str) -> None:
    """REAL_TOPIC is for the broker's own records: a sender's does not choose where a message goes."""
    victim = f"{topic}Victim"
    assert peer.ask(SEND, send_fields(victim), b"first").code == 0
    forged = f"REAL_TOPIC\x01{victim}\x02REAL_QID\x010\x02PGROUP\x01g\x02POP_CK\x011 2 3 4 5 6 7 8\x02DELAY\x01-4\x02"
    for unique in ("", UNIQUE):
        assert peer.ask(SEND, send_fields(topic, properties=unique + forged), b"forged").code == 0
    assert end_of(peer, topic) == 3
    assert end_of(peer, victim) == 1


# -- pulls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "code", "remark", "next_begin"),
    [
        (-1, 21, "OFFSET_TOO_SMALL", "0"),
        (-(2**63), 21, "OFFSET_TOO_SMALL", "0"),
        (1, 19, "OFFSET_OVERFLOW_ONE", "1"),
        (2, 21, "OFFSET_OVERFLOW_BADLY", "1"),
        (2**31, 21, "OFFSET_OVERFLOW_BADLY", "1"),
        (2**63 - 1, 21, "OFFSET_OVERFLOW_BADLY", "1"),
    ],
)
def test_illegal_pull_offsets_are_told_where_to_go_on(
    peer: Peer, topic: str, offset: int, code: int, remark: str, next_begin: str
) -> None:
    answer = peer.ask(PULL, pull_fields(topic, 0, offset))
    assert (answer.code, answer.remark, answer.fields["nextBeginOffset"]) == (code, remark, next_begin)
    assert (answer.fields["minOffset"], answer.fields["maxOffset"]) == ("0", "1")


def test_an_illegal_offset_of_an_empty_queue_is_told_to_begin(peer: Peer, topic: str) -> None:
    for offset in (-1, 1, 2**63 - 1):
        answer = peer.ask(PULL, pull_fields(topic, 1, offset))
        assert (answer.code, answer.fields["nextBeginOffset"]) == (21, "0")
    assert peer.ask(PULL, pull_fields(topic, 1, 0)).code == 19


@pytest.mark.parametrize("count", [0, -1, -(2**31), 2**31 - 1])
def test_impossible_amounts_give_at_least_one_message(peer: Peer, topic: str, count: int) -> None:
    for more in ({"maxMsgNums": count}, {"maxMsgBytes": count}):
        answer = peer.ask(PULL, pull_fields(topic, **more))
        assert (answer.code, answer.fields["nextBeginOffset"]) == (0, "1")


@pytest.mark.parametrize(
    ("more", "code", "remark"),
    [
        ({"subscription": "||"}, 23, "parse the consumer's subscription failed"),
        ({"subscription": "x" * 70_000}, 23, "subscription of 70000 characters, more than 65536"),
        ({"subscription": "a > 1", "expressionType": "SQL92"}, 1, "does not support consumer to filter message by SQL92"),
        ({"subscription": "(" * 60_000, "expressionType": "SQL92"}, 1, "does not support consumer to filter message by SQL92"),
        ({"subscription": "(a+)+$", "expressionType": "REGEX"}, 1, "does not support consumer to filter message by REGEX"),
        ({"consumerGroup": ""}, 26, "subscription group [] does not exist"),
        ({"consumerGroup": "no such group"}, 26, "subscription group [no such group] does not exist"),
        ({"sysFlag": 0, "consumerGroup": "nobody-beats"}, 24, "the consumer's group info not exist"),
    ],
)
def test_impossible_subscriptions_are_refused(peer: Peer, topic: str, more: dict[str, object], code: int, remark: str) -> None:
    answer = peer.ask(PULL, pull_fields(topic, **more))
    assert answer.code == code
    assert remark in answer.remark


def test_the_longest_subscription_costs_little(broker_cost: ProcessCost, peer: Peer, topic: str) -> None:
    tags = "||".join(f"t{index:05d}" for index in range(8_000))
    peer.ask(PULL, pull_fields(topic))
    spent = broker_cost.cpu_ms_of(lambda: peer.ask(PULL, pull_fields(topic, subscription=tags)), 150)
    assert spent < 150, "30 ms was measured"
    assert peer.ask(PULL, pull_fields(topic, subscription=tags)).code == 20


# -- offsets ----------------------------------------------------------------------------------------------------------


def commit(peer: Peer, topic: str, offset: int, *, queue_id: int = 0, group: str = "attack-consumers") -> Answer:
    fields = {"consumerGroup": group, "topic": topic, "queueId": queue_id, "commitOffset": offset}
    return peer.ask(UPDATE_OFFSET, fields)


def committed(peer: Peer, topic: str, *, queue_id: int = 0) -> Answer:
    return peer.ask(QUERY_OFFSET, {"consumerGroup": "attack-consumers", "topic": topic, "queueId": queue_id})


def test_negative_offsets_are_refused_and_large_ones_brought_down_to_the_end(peer: Peer, topic: str) -> None:
    peer.ask(PULL, pull_fields(topic))  # makes the group
    assert commit(peer, topic, 1).code == 0
    for offset in (-1, -(2**63)):
        answer = commit(peer, topic, offset)
        expected = f"queueId[0] and offset[{offset}] of topic {topic} must not be negative"
        assert (answer.code, answer.remark) == (29, expected)
        assert committed(peer, topic).fields["offset"] == "1"
    for offset in (2, 2**62, 2**63 - 1):
        assert commit(peer, topic, offset).code == 0
        assert committed(peer, topic).fields["offset"] == "1", "the end: messages to come are not skipped"


def test_commits_with_pulls_are_bounded_the_same_way(peer: Peer, topic: str) -> None:
    for offset, expected in ((-5, None), (2**63 - 1, "1")):
        assert peer.ask(PULL, pull_fields(topic, sysFlag=5, commitOffset=offset)).code == 0
        if expected is not None:
            assert committed(peer, topic).fields["offset"] == expected


@pytest.mark.parametrize("queue_id", [-1, -(2**31), 4, 2**31 - 1])
def test_offsets_of_queues_that_never_were_are_refused(peer: Peer, topic: str, queue_id: int) -> None:
    peer.ask(PULL, pull_fields(topic))
    answer = commit(peer, topic, 5, queue_id=queue_id)
    assert answer.code == 29
    assert f"queueId[{queue_id}]" in answer.remark
    assert committed(peer, topic, queue_id=queue_id).code == 22, "and they are not in the table"


def test_offsets_of_unknown_groups_and_topics_are_refused(peer: Peer, topic: str) -> None:
    assert commit(peer, topic, 1, group="nobody").remark == "Group nobody not exist!"
    assert commit(peer, topic, 1, group="nobody").code == 26
    peer.ask(PULL, pull_fields(topic))
    answer = commit(peer, "NeverMade", 1)
    assert (answer.code, answer.remark) == (17, "Topic NeverMade not exist!")


def test_unknown_groups_are_made_only_under_names_that_groups_may_have(peer: Peer, topic: str) -> None:
    beat = b'{"clientID":"c","consumerDataSet":[{"groupName":"%s"}]}'
    for name in (b"../../x", b"a b", b"", b"x" * 300, b"a\\nb", b"\\u0000"):
        assert peer.ask(HEART_BEAT, {}, beat % name).code == 0, "the client's other groups are in the same heartbeat"
    table = peer.ask(int(RequestCode.GET_ALL_SUBSCRIPTIONGROUP_CONFIG)).body
    assert b"../../x" not in table
    assert b"a b" not in table
    assert b"x" * 300 not in table


@pytest.mark.parametrize("offset", [-1, 1, 2**40, 2**63 - 1])
def test_places_where_no_message_begins_are_answered_as_such(peer: Peer, topic: str, offset: int) -> None:
    answer = peer.ask(int(RequestCode.VIEW_MESSAGE_BY_ID), {"offset": offset})
    assert (answer.code, answer.remark) == (1, f"can not find message by the offset, {offset}")
    back = {"offset": offset, "group": "attack-consumers", "delayLevel": 0, "originMsgId": "x", "originTopic": topic}
    peer.ask(PULL, pull_fields(topic))
    answer = peer.ask(int(RequestCode.CONSUMER_SEND_MSG_BACK), back)
    assert (answer.code, answer.remark) == (1, f"look message by offset failed, {offset}")


def test_queries_beyond_all_bounds_are_answered(peer: Peer, topic: str) -> None:
    query = {"topic": topic, "key": "k" * 200_000, "maxNum": 2**31 - 1, "beginTimestamp": -(2**63), "endTimestamp": 2**63 - 1}
    assert peer.ask(int(RequestCode.QUERY_MESSAGE), query).code == 22
    for index, count in ((0, 2**31 - 1), (0, -1), (-1, 5), (2**63 - 1, 5)):
        fields = {"topic": topic, "queueId": 0, "index": index, "count": count, "consumerGroup": "g"}
        answer = peer.ask(int(RequestCode.QUERY_CONSUME_QUEUE), fields)
        assert answer.code == 0
        assert answer.body or answer.remark == f"Index {index} of 0@{topic} is not exist!"
