"""One consumer group: its connections and what it listens to."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from gantry.model.heartbeat import BROADCASTING, CONSUME_PASSIVELY, SubscriptionData

from .client_channel import ClientChannel, ClientChannelInfo
from .listening import GroupListening

log = logging.getLogger(__name__)

LOGGED_TOPICS_MAX = 100
LOGGED_CHARS_MAX = 1_000
"""Of one heartbeat's topics and of one expression: a log line costs more than the registration it tells of."""


class ConsumerGroupInfo:
    """A connected consumer group. Source: ConsumerGroupInfo (5.3).

    `consume_type`, `message_model` and `consume_from_where` are the official names, as the latest heartbeat had them.
    `notify_ids_changed` says whether the group's configuration asks for change notices.
    """

    def __init__(self, group: str, *, consume_type: str, message_model: str, consume_from_where: str) -> None:
        self.group = group
        self.consume_type = consume_type
        self.message_model = message_model
        self.consume_from_where = consume_from_where
        self.notify_ids_changed = True
        self.channels: dict[int, ClientChannelInfo] = {}
        self.subscriptions: dict[str, SubscriptionData] = {}
        self.listening = GroupListening()

    def subscription(self, topic: str) -> SubscriptionData | None:
        return self.subscriptions.get(topic)

    @property
    def is_broadcasting(self) -> bool:
        return self.message_model == BROADCASTING

    def client_ids(self) -> list[str]:
        """Ids of the connected clients, each once, in the order they came.

        A client that has reconnected before its old connection was noticed dead is there twice; listing it twice
        would give it a double share of the queues, half of them in nobody's hands.
        """
        return list(dict.fromkeys(info.client_id for info in self.channels.values()))

    def find_client(self, client_id: str) -> ClientChannelInfo | None:
        """The client's latest connection."""
        found: ClientChannelInfo | None = None
        for info in self.channels.values():
            if info.client_id == client_id and not info.channel.closed:
                found = info
        return found

    def update_channel(self, info: ClientChannelInfo) -> bool:
        """Takes note of a heartbeat's connection; True when it is new."""
        known = self.channels.get(info.channel.id)
        if known is not None and known.client_id == info.client_id:
            known.touch(info)
            return False
        if known is not None:
            log.warning(
                "connection %s of group %s said it was client %s and now says %s",
                info.channel.remote_address, self.group, known.client_id, info.client_id,
            )  # fmt: skip
        self.channels[info.channel.id] = info
        return True

    def remove_channel(self, channel: ClientChannel) -> ClientChannelInfo | None:
        self.listening.remove(channel.id)
        return self.channels.pop(channel.id, None)

    def update_subscriptions(self, subscriptions: Iterable[SubscriptionData]) -> bool:
        """Replaces the set of topics; True when a topic came or went.

        An expression changes only when its version grows, so that an old client of a mixed group cannot bring its
        own back; such a change alone is not announced to the group, because it moves no queue.
        """
        topics: set[str] = set()
        came: list[SubscriptionData] = []
        for new in subscriptions:
            topics.add(new.topic)
            old = self.subscriptions.get(new.topic)
            if old is None:
                self.subscriptions[new.topic] = new
                came.append(new)
            elif new.sub_version > old.sub_version:
                if self.consume_type == CONSUME_PASSIVELY and new.sub_string != old.sub_string:
                    log.info("group %s, topic %s: %s -> %s", self.group, new.topic,
                             old.sub_string[:LOGGED_CHARS_MAX], new.sub_string[:LOGGED_CHARS_MAX])  # fmt: skip
                self.subscriptions[new.topic] = new
        gone = [topic for topic in self.subscriptions if topic not in topics]
        for topic in gone:
            del self.subscriptions[topic]
        for new in came[:LOGGED_TOPICS_MAX]:
            log.info("group %s listens to topic %s (%s)", self.group, new.topic, new.sub_string[:LOGGED_CHARS_MAX])
        for topic in gone[:LOGGED_TOPICS_MAX]:
            log.info("group %s no longer listens to topic %s", self.group, topic)
        unsaid = max(len(came) - LOGGED_TOPICS_MAX, 0) + max(len(gone) - LOGGED_TOPICS_MAX, 0)
        if unsaid:
            log.info("group %s: %d further topics came or went", self.group, unsaid)
        return bool(came or gone)
