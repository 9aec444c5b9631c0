"""What this client knows of topics and brokers: pure tables fed by route answers.

One broker may appear in the routes of many topics; its addresses are kept once, by name, and are dropped only when no known
topic mentions the broker any more.
"""

from __future__ import annotations

from gantry.model import MessageQueue, TopicRouteData
from gantry.model.names import MASTER_ID

from .publish_info import PublishInfo, readable_queues, writable_queues


class RouteCache:
    """Routes by topic, addresses by broker name."""

    def __init__(self) -> None:
        self._routes: dict[str, TopicRouteData] = {}
        self._publish: dict[str, PublishInfo] = {}
        self._brokers: dict[str, dict[int, str]] = {}

    def update(self, topic: str, route: TopicRouteData, *, first_queue: int = 0) -> bool:
        """Take a route answer in. first_queue is where a producer's round robin starts (spread by the caller).

        Returns: whether anything differs from what was known.
        """
        old = self._routes.get(topic)
        route = _sorted_route(route)
        if old == route:
            return False
        self._routes[topic] = route
        self._publish[topic] = PublishInfo(writable_queues(topic, route), start=first_queue)
        for broker in route.broker_datas:
            self._brokers[broker.broker_name] = dict(broker.broker_addrs)
        self._drop_unmentioned_brokers()
        return True

    def remove(self, topic: str) -> None:
        """Forget a topic, and the brokers that no other known topic mentions."""
        if self._routes.pop(topic, None) is not None:
            self._publish.pop(topic, None)
            self._drop_unmentioned_brokers()

    def topics(self) -> list[str]:
        return sorted(self._routes)

    def route(self, topic: str) -> TopicRouteData | None:
        return self._routes.get(topic)

    def publish_info(self, topic: str) -> PublishInfo | None:
        """The producer's view; None when the topic is unknown or has no writable queue."""
        info = self._publish.get(topic)
        return info if info is not None and info.queues else None

    def subscribe_queues(self, topic: str) -> list[MessageQueue] | None:
        """The consumer's view, sorted; None when the topic is unknown."""
        route = self._routes.get(topic)
        return None if route is None else readable_queues(topic, route)

    def broker_names_of(self, topic: str) -> list[str]:
        route = self._routes.get(topic)
        return [] if route is None else sorted(broker.broker_name for broker in route.broker_datas)

    def broker_names(self) -> list[str]:
        return sorted(self._brokers)

    def master_address(self, broker_name: str) -> str | None:
        return self._brokers.get(broker_name, {}).get(MASTER_ID)

    def address(self, broker_name: str, broker_id: int = MASTER_ID) -> str | None:
        """Address of the asked replica, or of the one with the smallest id when that one is not known."""
        addresses = self._brokers.get(broker_name)
        if not addresses:
            return None
        return addresses.get(broker_id) or addresses[min(addresses)]

    def addresses(self) -> list[tuple[str, int, str]]:
        """(broker name, broker id, address) of every replica known, sorted."""
        return sorted(
            (name, broker_id, address) for name, table in self._brokers.items() for broker_id, address in table.items()
        )

    def _drop_unmentioned_brokers(self) -> None:
        mentioned = {broker.broker_name for route in self._routes.values() for broker in route.broker_datas}
        for name in [name for name in self._brokers if name not in mentioned]:
            del self._brokers[name]


def _sorted_route(route: TopicRouteData) -> TopicRouteData:
    """The same route with its lists in one order, so that two answers can be compared."""
    return TopicRouteData(
        order_topic_conf=route.order_topic_conf,
        queue_datas=sorted(route.queue_datas, key=lambda data: data.broker_name),
        broker_datas=sorted(route.broker_datas, key=lambda data: data.broker_name),
        filter_server_table=route.filter_server_table,
        topic_queue_mapping_by_broker=route.topic_queue_mapping_by_broker,
    )
