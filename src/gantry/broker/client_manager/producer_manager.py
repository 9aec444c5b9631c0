"""Which producers are connected, by group and by client id."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from gantry.runtime.clock import Clock

from .client_channel import ClientChannel, ClientChannelInfo

log = logging.getLogger(__name__)

CHANNEL_EXPIRED_MS = 120_000


class ProducerManager:
    """Producer groups and their connections. The caller sends and closes; nothing here touches a connection.

    Source: ProducerManager (5.3).
    """

    def __init__(self, clock: Clock, *, channel_expired_ms: int = CHANNEL_EXPIRED_MS) -> None:
        self._clock = clock
        self._channel_expired_ms = channel_expired_ms
        self._groups: dict[str, dict[int, ClientChannelInfo]] = {}
        self._by_client: dict[str, ClientChannelInfo] = {}
        self._round_robin = 0

    def register(self, group: str, info: ClientChannelInfo) -> bool:
        """Takes note of a heartbeat; True when the connection is new in the group."""
        channels = self._groups.setdefault(group, {})
        known = channels.get(info.channel.id)
        if known is None:
            channels[info.channel.id] = info
            self._by_client[info.client_id] = info
            log.info("new producer connected, group: %s client: %s %s", group, info.client_id, info.channel.remote_address)
            return True
        known.touch(info)
        return False

    def unregister(self, group: str, channel: ClientChannel) -> bool:
        """Takes the connection out of one group; the client stays known while another group has it."""
        channels = self._groups.get(group)
        if channels is None:
            return False
        info = channels.pop(channel.id, None)
        if not channels:
            del self._groups[group]
        if info is None:
            return False
        if not any(channel.id in others for others in self._groups.values()):
            self._forget_client(info)
        return True

    def channel_closed(self, channel: ClientChannel) -> bool:
        """Takes a closed connection out of every group; True when it was in one."""
        removed = False
        for group in list(self._groups):
            channels = self._groups[group]
            info = channels.pop(channel.id, None)
            if info is None:
                continue
            removed = True
            self._forget_client(info)
            log.info("producer %s %s left group %s: connection closed", info.client_id, channel.remote_address, group)
            if not channels:
                del self._groups[group]
        return removed

    def scan_not_active_channel(self) -> list[ClientChannel]:
        """Drops connections without a heartbeat for too long; the caller closes what is returned."""
        monotonic_ms = self._clock.monotonic_ms()
        dead: dict[int, ClientChannel] = {}
        for channels in self._groups.values():
            for info in channels.values():
                if info.expired(monotonic_ms=monotonic_ms, expired_after_ms=self._channel_expired_ms):
                    dead[info.channel.id] = info.channel
        for channel in dead.values():
            self.channel_closed(channel)
        return list(dead.values())

    def group_table(self) -> Mapping[str, list[ClientChannelInfo]]:
        """A copy of who is connected, by group."""
        return {group: list(channels.values()) for group, channels in self._groups.items()}

    def channels_of(self, group: str) -> list[ClientChannelInfo] | None:
        """The group's connections; None when no such producer group is connected."""
        channels = self._groups.get(group)
        return None if channels is None else list(channels.values())

    def group_online(self, group: str) -> bool:
        return group in self._groups

    def find_channel(self, client_id: str) -> ClientChannel | None:
        """The client's latest connection: where replies addressed to it are pushed."""
        info = self._by_client.get(client_id)
        return None if info is None or info.channel.closed else info.channel

    def available_channel(self, group: str) -> ClientChannel | None:
        """A living connection of the group, each in turn: where transaction checks go.

        One whose peer reads slowly is taken only when there is no better.
        """
        infos = list(self._groups.get(group, {}).values())
        if not infos:
            return None
        self._round_robin = (self._round_robin + 1) % 2**31
        second_best: ClientChannel | None = None
        for step in range(len(infos)):
            channel = infos[(self._round_robin + step) % len(infos)].channel
            if channel.closed:
                continue
            if not channel.write_paused:
                return channel
            second_best = second_best or channel
        return second_best

    def _forget_client(self, info: ClientChannelInfo) -> None:
        # A client that has reconnected already is known by its new connection; the old one's end must not remove it.
        known = self._by_client.get(info.client_id)
        if known is not None and known.channel.id == info.channel.id:
            del self._by_client[info.client_id]
