"""Keeping clients in their own zone: a route without the brokers of other zones.

Source: ZoneRouteRPCHook (5.3).
"""

from __future__ import annotations

from gantry.model import TopicRouteData
from gantry.model.names import MASTER_ID

ZONE_NAME = "__ZONE_NAME"
ZONE_MODE = "__ZONE_MODE"


def asked_zone(ext_fields: dict[str, str] | None) -> str | None:
    """The zone a request is to be answered for; None when it does not ask for one."""
    if not ext_fields or ext_fields.get(ZONE_MODE, "").lower() != "true":
        return None
    zone = ext_fields.get(ZONE_NAME, "")
    return zone if zone.strip() else None


def filter_by_zone(route: TopicRouteData, zone_name: str) -> None:
    """Removes brokers of other zones, with their queues and filter servers.

    A broker whose master is gone stays, whatever its zone: what its slaves hold is to be consumed by somebody.
    """
    wanted = zone_name.lower()
    removed = [
        data
        for data in route.broker_datas
        if MASTER_ID in data.broker_addrs and (data.zone_name is None or data.zone_name.lower() != wanted)
    ]
    names = {data.broker_name for data in removed}
    route.broker_datas = [data for data in route.broker_datas if data.broker_name not in names]
    route.queue_datas = [queues for queues in route.queue_datas if queues.broker_name not in names]
    for data in removed:
        for addr in data.broker_addrs.values():
            route.filter_server_table.pop(addr, None)
