"""Subscriptions by SQL92: what the client refuses itself, and what it asks a broker first."""

from __future__ import annotations

from typing import Any

import pytest

from gantry.client import Doors, MessageSelector, PullConsumer, PushConsumer
from gantry.client.subscription import build_subscription
from gantry.errors import BrokerError, ClientError
from gantry.protocol import json_dialect
from gantry.protocol.remoting.codes import RequestCode, ResponseCode
from gantry.testing import VirtualClock
from tests.unit.client.fake_cluster import BROKERS, NAME_SERVER, FakeCluster, drive

GOOD = MessageSelector.by_sql("size > 5")


async def nothing(messages: Any) -> None: ...


def test_a_selector_by_sql_keeps_its_text() -> None:
    found = build_subscription("T", GOOD, sub_version=7)
    assert (found.sub_string, found.expression_type, found.sub_version) == ("size > 5", "SQL92", 7)
    assert found.tags_set == found.code_set == []


def test_a_selector_by_tag_is_a_plain_expression() -> None:
    assert build_subscription("T", MessageSelector.by_tag("A || B"), sub_version=1) == build_subscription(
        "T", "A || B", sub_version=1
    )


@pytest.mark.parametrize(
    ("selector", "told"),
    [
        (MessageSelector.by_sql("size >"), "subscription of T: SQL92 expression, character 7, at the end"),
        (MessageSelector.by_sql(""), "character 1"),
        (MessageSelector("x", "XYZ"), "XYZ is no type"),
    ],
)
def test_what_cannot_be_read_is_refused_at_once(selector: MessageSelector, told: str) -> None:
    with pytest.raises(ClientError, match=told):
        build_subscription("T", selector, sub_version=1)
    with pytest.raises(ClientError):
        PullConsumer("g", name_servers="127.0.0.1:1", expression=selector)
    with pytest.raises(ClientError):
        PushConsumer("g", nothing, name_servers="127.0.0.1:1").subscribe("T", selector)


@pytest.fixture
def consumer(doors: Doors, cluster: FakeCluster) -> PushConsumer:
    cluster.topics["T"] = 4
    consumer = PushConsumer("g", nothing, name_servers=NAME_SERVER, doors=doors, remoting=cluster)
    consumer.subscribe("T", GOOD)
    return consumer


async def test_start_asks_a_broker_whether_it_takes_the_expression(
    consumer: PushConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    await drive(clock, consumer.start())
    checks = [command for _, command in cluster.requests if command.code == RequestCode.CHECK_CLIENT_CONFIG]
    assert len(checks) == 1
    body = json_dialect.decode(checks[0].body)
    assert (body["group"], body["clientId"]) == ("g", consumer.client_id)
    assert body["subscriptionData"]["subString"] == "size > 5"
    assert body["subscriptionData"]["expressionType"] == "SQL92"
    told = [data.consumer_data_set[0].subscription_data_set for _, data in cluster.heartbeats]
    assert ("SQL92", "size > 5") in [(each.expression_type, each.sub_string) for each in told[-1]]
    await drive(clock, consumer.stop())


async def test_start_fails_with_the_brokers_words(consumer: PushConsumer, cluster: FakeCluster, clock: VirtualClock) -> None:
    remark = "The broker does not support consumer to filter message by SQL92"
    for address in BROKERS:
        cluster.refuse[address, RequestCode.CHECK_CLIENT_CONFIG] = (ResponseCode.SYSTEM_ERROR, remark)
    with pytest.raises(BrokerError, match="does not support consumer to filter message by SQL92"):
        await drive(clock, consumer.start())
    assert cluster.heartbeats == []


async def test_a_broker_that_is_away_is_no_reason_not_to_start(
    consumer: PushConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    cluster.down.update(BROKERS)
    await drive(clock, consumer.start())
    await drive(clock, consumer.stop())
    assert RequestCode.CHECK_CLIENT_CONFIG in cluster.codes()
