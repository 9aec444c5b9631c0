"""Routes for clients that keep to their zone."""

from __future__ import annotations

import pytest

from gantry.model import BrokerData, QueueData, TopicRouteData
from gantry.namesrv.zone_filter import asked_zone, filter_by_zone


@pytest.mark.parametrize(
    ("fields", "zone"),
    [
        (None, None),
        ({}, None),
        ({"__ZONE_NAME": "z1"}, None),
        ({"__ZONE_MODE": "false", "__ZONE_NAME": "z1"}, None),
        ({"__ZONE_MODE": "true"}, None),
        ({"__ZONE_MODE": "true", "__ZONE_NAME": "  "}, None),
        ({"__ZONE_MODE": "TRUE", "__ZONE_NAME": "z1"}, "z1"),
    ],
)
def test_a_zone_counts_only_with_its_mode(fields: dict[str, str] | None, zone: str | None) -> None:
    assert asked_zone(fields) == zone


def test_other_zones_go_with_queues_and_filters_unless_their_master_is_down() -> None:
    route = TopicRouteData(
        queue_datas=[QueueData(name) for name in ("mine", "other", "none", "orphan")],
        broker_datas=[
            BrokerData("C", "mine", {0: "m:1"}, "Z1"),
            BrokerData("C", "other", {0: "o:1", 1: "o:2"}, "z2"),
            BrokerData("C", "none", {0: "n:1"}, None),
            BrokerData("C", "orphan", {1: "p:1"}, "z2"),
        ],
        filter_server_table={"m:1": ["f"], "o:2": ["g"]},
    )
    filter_by_zone(route, "z1")
    assert [data.broker_name for data in route.broker_datas] == ["mine", "orphan"]
    assert [data.broker_name for data in route.queue_datas] == ["mine", "orphan"]
    assert route.filter_server_table == {"m:1": ["f"]}
