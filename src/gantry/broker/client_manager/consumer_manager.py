"""Which consumers are connected, by group, and what each group listens to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import msgspec

from gantry.model.heartbeat import ConsumerData, SubscriptionData
from gantry.runtime.clock import Clock

from .client_channel import ClientChannel, ClientChannelInfo
from .consumer_group_info import ConsumerGroupInfo
from .listening import describe_conflict, listening_of

log = logging.getLogger(__name__)

CHANNEL_EXPIRED_MS = 120_000
SUBSCRIPTION_EXPIRED_MS = 600_000
COMPENSATION_COUNT_MAX = 100_000
COMPENSATION_CHARS_MAX = 4 * 1024 * 1024
"""Bounds on subscriptions learned from pulls, and on their expressions together (a tag of two letters takes thirty times its
length here); the eldest makes room. A pull names any group it likes."""

COMPENSATION_RENEWED_MS = 1_000
"""It expires after minutes: not each pull has to renew it."""


class GroupChange(msgspec.Struct, frozen=True):
    """The members or the topics of a group changed: these connections are to be told (NOTIFY_CONSUMER_IDS_CHANGED)."""

    group: str
    channels: tuple[ClientChannel, ...]


class _Compensation(msgspec.Struct):
    subscription: SubscriptionData
    seen_monotonic_ms: int


class ConsumerManager:
    """Consumer groups, their connections and subscriptions.

    A change is returned as `GroupChange`; the caller tells the connections. Nothing here touches a connection.
    Expiry runs on the monotonic clock. Source: ConsumerManager (5.3).
    """

    def __init__(
        self,
        clock: Clock,
        *,
        channel_expired_ms: int = CHANNEL_EXPIRED_MS,
        subscription_expired_ms: int = SUBSCRIPTION_EXPIRED_MS,
    ) -> None:
        self._clock = clock
        self._channel_expired_ms = channel_expired_ms
        self._subscription_expired_ms = subscription_expired_ms
        self._groups: dict[str, ConsumerGroupInfo] = {}
        self._fingerprints: dict[str, int] = {}
        self._compensations: dict[tuple[str, str], _Compensation] = {}
        self._compensation_chars = 0
        self.on_group_gone: Callable[[str], None] = lambda group: None
        """Told of a group whose last connection went."""

    # -- what others ask

    def group_info(self, group: str) -> ConsumerGroupInfo | None:
        """The group as connected now; None when nobody of it is."""
        return self._groups.get(group)

    def groups(self) -> Mapping[str, ConsumerGroupInfo]:
        return self._groups

    def find_subscription(self, group: str, topic: str) -> SubscriptionData | None:
        """What the group listens to in the topic: by its heartbeats, else by its latest pull that said so itself."""
        info = self._groups.get(group)
        if info is not None:
            subscription = info.subscriptions.get(topic)
            if subscription is not None:
                return subscription
        compensation = self._compensations.get((group, topic))
        return None if compensation is None else compensation.subscription

    def compensated(self) -> list[tuple[str, str]]:
        """Groups and topics that were learned from pulls which brought their own subscription."""
        return list(self._compensations)

    def subscription_count(self, group: str) -> int:
        info = self._groups.get(group)
        return 0 if info is None else len(info.subscriptions)

    def find_client(self, group: str, client_id: str) -> ClientChannelInfo | None:
        info = self._groups.get(group)
        return None if info is None else info.find_client(client_id)

    def groups_listening_to(self, topic: str) -> set[str]:
        return {group for group, info in self._groups.items() if topic in info.subscriptions}

    # -- what changes it

    def conflict_with_members(self, data: ConsumerData, channel: ClientChannel) -> str | None:
        """What the members of a group listen to, when this heartbeat says something else; None when it does not."""
        group, listening = self._groups.get(data.group_name), listening_of(data)
        if group is None or listening is None or not group.listening.differs(channel.id, listening):
            return None
        return describe_conflict(group.listening.variants())

    def conflicting_groups(self) -> list[str]:
        """Groups whose members listen to different things."""
        return [name for name, group in self._groups.items() if group.listening.conflicting]

    def register(
        self, data: ConsumerData, info: ClientChannelInfo, *, notify_enabled: bool, with_subscriptions: bool = True
    ) -> GroupChange | None:
        """Takes note of one group in a heartbeat; the change is None when neither members nor topics changed.

        `with_subscriptions` False leaves the stored subscriptions as they are (heartbeat V2 without subscriptions).
        Members that listen to different things are told in the log, once for each new thing that one of them says.
        """
        group = self._groups.get(data.group_name)
        if group is None:
            group = self._groups[data.group_name] = ConsumerGroupInfo(
                data.group_name,
                consume_type=data.consume_type,
                message_model=data.message_model,
                consume_from_where=data.consume_from_where,
            )
        group.consume_type = data.consume_type
        group.message_model = data.message_model
        group.consume_from_where = data.consume_from_where
        group.notify_ids_changed = notify_enabled
        joined = group.update_channel(info)
        if joined:
            log.info(
                "new consumer connected, group: %s %s %s client: %s %s",
                data.group_name, data.consume_type, data.message_model, info.client_id, info.channel.remote_address,
            )  # fmt: skip
        changed = group.update_subscriptions(data.subscription_data_set) if with_subscriptions else False
        listening = listening_of(data) if with_subscriptions else None
        if (
            listening is not None
            and group.listening.update(info.channel.id, info.client_id, listening)
            and group.listening.conflicting
        ):
            log.warning(
                "the members of group %s listen to different things, so some of its messages reach nobody who wants them: "
                "%s. Give them equal subscriptions, or groups of their own",
                group.group, describe_conflict(group.listening.variants()),
            )  # fmt: skip
        return self._change(group) if joined or changed else None

    def note_fingerprint(self, group: str, fingerprint: int, *, without_sub: bool) -> bool:
        """Remembers the fingerprint of a V2 heartbeat; True when the client is to send its subscriptions in full.

        That is when the group's last fingerprint differs, and also when subscriptions were left out although none are
        known (the broker restarted, or the group had gone): the original then stays without them until the client
        changes something, and answers every pull with 24.
        Source: ClientManageProcessor.heartBeatV2 (5.3); the second case is our decision.
        """
        known = self._fingerprints.get(group)
        self._fingerprints[group] = fingerprint
        if known is not None and known != fingerprint:
            return True
        return without_sub and self.subscription_count(group) == 0

    def unregister(self, group: str, channel: ClientChannel, *, notify_enabled: bool = True) -> GroupChange | None:
        """Takes one connection out of one group, as its client asked."""
        info = self._groups.get(group)
        if info is None:
            return None
        info.notify_ids_changed = notify_enabled
        return self._remove(info, channel, "unregistered")

    def channel_closed(self, channel: ClientChannel) -> list[GroupChange]:
        """Takes a closed connection out of every group."""
        changes = [self._remove(info, channel, "connection closed") for info in list(self._groups.values())]
        return [change for change in changes if change is not None]

    def compensate_subscription(self, group: str, topic: str, subscription: SubscriptionData) -> None:
        """Remembers a subscription that came with a pull, for groups whose heartbeats carry none; expires unused."""
        key, now_ms = (group, topic), self._clock.monotonic_ms()
        known = self._compensations.get(key)
        if known is not None:
            if known.subscription == subscription and now_ms - known.seen_monotonic_ms < COMPENSATION_RENEWED_MS:
                return
            self._forget_compensation(key)
        chars = len(subscription.sub_string)
        while self._compensations and (
            len(self._compensations) >= COMPENSATION_COUNT_MAX or self._compensation_chars + chars > COMPENSATION_CHARS_MAX
        ):
            self._forget_compensation(next(iter(self._compensations)))
        self._compensation_chars += chars
        self._compensations[key] = _Compensation(subscription, now_ms)

    def scan_not_active_channel(self) -> tuple[list[ClientChannel], list[GroupChange]]:
        """Drops connections without a heartbeat for too long, and compensations unused for too long.

        Returns the connections to close and the changes to announce.
        """
        now = self._clock.monotonic_ms()
        dead: dict[int, ClientChannel] = {}
        changes: list[GroupChange] = []
        for group in list(self._groups.values()):
            expired = [
                info.channel
                for info in group.channels.values()
                if info.expired(monotonic_ms=now, expired_after_ms=self._channel_expired_ms)
            ]
            change: GroupChange | None = None
            for channel in expired:
                dead[channel.id] = channel
                change = self._remove(group, channel, "no heartbeat") or change
            if change is not None:
                changes.append(change)
        for key, compensation in list(self._compensations.items()):
            if now - compensation.seen_monotonic_ms > self._subscription_expired_ms:
                self._forget_compensation(key)
        return list(dead.values()), changes

    # -- inside

    def _forget_compensation(self, key: tuple[str, str]) -> None:
        self._compensation_chars -= len(self._compensations.pop(key).subscription.sub_string)

    def _remove(self, info: ConsumerGroupInfo, channel: ClientChannel, why: str) -> GroupChange | None:
        client = info.remove_channel(channel)
        if client is None:
            return None
        log.info("consumer %s %s left group %s: %s", client.client_id, channel.remote_address, info.group, why)
        if not info.channels:
            self._groups.pop(info.group, None)
            self._fingerprints.pop(info.group, None)
            log.info("consumer group %s has no connection left", info.group)
            self.on_group_gone(info.group)
        return self._change(info)

    @staticmethod
    def _change(info: ConsumerGroupInfo) -> GroupChange:
        # Members of a broadcasting group share nothing, so nobody has to know of the others.
        if not info.notify_ids_changed or info.is_broadcasting:
            return GroupChange(info.group, ())
        return GroupChange(info.group, tuple(client.channel for client in info.channels.values()))
