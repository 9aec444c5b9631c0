"""Where a producer may write: the queues of a route, and the choice among them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gantry.model import MessageQueue, TopicRouteData, perm_name
from gantry.model.names import MASTER_ID

QUEUE_NUMS_MAX = 65_536
"""Queues of a topic on one broker that a client looks at: what a route says must not decide how much memory we take."""


def writable_queues(topic: str, route: TopicRouteData) -> list[MessageQueue]:
    """Queues a producer may write to, sorted.

    An order-topic configuration (`broker-a:4;broker-b:4`) fixes the queues by itself. Otherwise a broker counts when its
    queues are writable and a master address is known.
    Source: MQClientInstance.topicRouteData2TopicPublishInfo (5.3).
    """
    if route.order_topic_conf:
        return sorted(_ordered_queues(topic, route.order_topic_conf))
    masters = {broker.broker_name for broker in route.broker_datas if MASTER_ID in broker.broker_addrs}
    return sorted(
        MessageQueue(topic, data.broker_name, queue_id)
        for data in route.queue_datas
        if perm_name.is_writeable(data.perm) and data.broker_name in masters
        for queue_id in range(min(data.write_queue_nums, QUEUE_NUMS_MAX))
    )


def readable_queues(topic: str, route: TopicRouteData) -> list[MessageQueue]:
    """Queues a consumer may read, sorted. A broker without a master counts: its slaves can be read."""
    if route.order_topic_conf:
        return sorted(_ordered_queues(topic, route.order_topic_conf))
    return sorted(
        MessageQueue(topic, data.broker_name, queue_id)
        for data in route.queue_datas
        if perm_name.is_readable(data.perm)
        for queue_id in range(min(data.read_queue_nums, QUEUE_NUMS_MAX))
    )


def _ordered_queues(topic: str, order_topic_conf: str) -> list[MessageQueue]:
    queues = []
    for part in order_topic_conf.split(";"):
        broker_name, separator, count = part.strip().rpartition(":")
        if separator and count.isascii() and count.isdigit():
            queues += [MessageQueue(topic, broker_name, queue_id) for queue_id in range(min(int(count[:9]), QUEUE_NUMS_MAX))]
    return queues


class PublishInfo:
    """The writable queues of one topic and a round robin over them.

    choose() walks the queues in turn and passes over the brokers that just failed, as long as another one is left.
    """

    def __init__(self, queues: Sequence[MessageQueue], *, start: int = 0) -> None:
        self.queues = tuple(queues)
        self._next = start

    def choose(self, avoid_brokers: frozenset[str] = frozenset()) -> MessageQueue:
        """The next queue in turn. There must be at least one queue."""
        for _ in self.queues:
            queue = self._step()
            if queue.broker_name not in avoid_brokers:
                return queue
        return self._step()

    def _step(self) -> MessageQueue:
        queue = self.queues[self._next % len(self.queues)]
        self._next += 1
        return queue
