"""Keeps the name servers told: at the start, after every change of a topic, and again and again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gantry.model import TopicConfig, perm_name
from gantry.runtime.clock import Clock, wait_for

if TYPE_CHECKING:
    from .config import BrokerConfig
    from .outer_api import BrokerOuterAPI
    from .topic.topic_config_manager import TopicConfigManager

log = logging.getLogger(__name__)

PERIOD_MS_MIN, PERIOD_MS_MAX = 10_000, 60_000
RETRY_MS = 1000
"""After a start that reached no name server: they may be starting, too."""
RETRY_COUNT = 30


class Registration:
    """One registration runs at a time; changes meanwhile are sent together by the next one.

    A change is sent as a body with the changed topics alone, as the original does, but never before a full body was
    accepted: a name server refuses a broker that begins with a single topic.
    Source: BrokerController.registerBrokerAll, registerIncrementBrokerData (5.3).
    """

    def __init__(self, config: BrokerConfig, clock: Clock, topics: TopicConfigManager, outer_api: BrokerOuterAPI) -> None:
        self._config = config
        self._clock = clock
        self._topics = topics
        self._outer_api = outer_api
        self._changed: set[str] = set()
        self._full_wanted = False
        self._registered: set[str] = set()
        self._change_number = 0
        self._done_number = 0
        self._task: asyncio.Task[None] | None = None
        self._periodic: asyncio.Task[None] | None = None
        self._stopped = False

    async def start(self) -> None:
        """Registers in full; returns when every name server has answered or failed. Then goes on by itself."""
        await self._register_full(self._outer_api.name_servers())
        self._periodic = asyncio.get_running_loop().create_task(self._run())

    async def shutdown(self) -> None:
        """Ends the repetition and unregisters everywhere."""
        self._stopped = True
        for task in (self._periodic, self._task):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._outer_api.unregister_broker_all()

    def topics_changed(self, names: list[str]) -> None:
        """Topics were made, changed or removed; the name servers hear of it soon."""
        self._changed.update(names)
        self._begin()

    def name_servers_changed(self) -> None:
        """The list of name servers is another one: those that are new are told everything."""
        self._full_wanted = True
        self._begin()

    async def flush(self, timeout_ms: float = 3000) -> bool:
        """Returns True when every change made before this call was told, False when that takes longer than the time."""
        target = self._change_number
        if self._done_number >= target or self._task is None:
            return True
        try:
            await wait_for(self._clock, asyncio.shield(self._task), timeout_ms)
        except TimeoutError:
            return False
        return True

    # -- inside

    def _begin(self) -> None:
        if self._stopped:
            return
        self._change_number += 1
        if self._periodic is not None and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._send_changes())

    async def _send_changes(self) -> None:
        while self._done_number < self._change_number:
            number = self._change_number
            names, self._changed = self._changed, set()
            servers = self._outer_api.name_servers()
            fresh = [server for server in servers if server not in self._registered or self._full_wanted]
            self._full_wanted = False
            known = [server for server in servers if server in self._registered and server not in fresh]
            topics = [topic for name in sorted(names) if (topic := self._topics.select(name)) is not None]
            if fresh:
                await self._register_full(fresh)
            if known and topics:
                await self._register(topics, known)
            self._done_number = number

    async def _run(self) -> None:
        failures = 0
        if self._done_number < self._change_number:
            self._begin()
        while True:
            period = min(max(self._config.register_name_server_period, PERIOD_MS_MIN), PERIOD_MS_MAX)
            servers = self._outer_api.name_servers()
            lost = bool(servers) and not self._registered.intersection(servers)
            if lost and failures < RETRY_COUNT:
                failures += 1
                period = RETRY_MS
            await self._clock.sleep_ms(period)
            try:
                servers = self._outer_api.name_servers()
                if not self._config.force_register:
                    servers = await self._outer_api.servers_behind(self._topics.data_version)
                await self._register_full(servers)
                if self._registered.intersection(self._outer_api.name_servers()):
                    failures = 0
            except Exception:
                log.exception("registering with the name servers failed, it is tried again")

    async def _register_full(self, servers: list[str]) -> None:
        await self._register(list(self._topics.table.values()), servers)

    async def _register(self, topics: list[TopicConfig], servers: list[str]) -> None:
        if not servers:
            return
        answers = await self._outer_api.register_broker_all(
            masked(topics, self._config.broker_permission), self._topics.data_version.copy(), servers
        )
        for server in servers:
            if server in answers:
                self._registered.add(server)
            else:
                self._registered.discard(server)
        order_topics = set().union(*answers.values()) if answers else set()
        if order_topics:
            self._topics.update_order_topics(sorted(order_topics))


def masked(topics: list[TopicConfig], broker_permission: int) -> list[TopicConfig]:
    """The topics with the broker's own permission laid over theirs. Source: BrokerController.registerBrokerAll (5.3)."""
    if broker_permission & perm_name.PERM_READ_WRITE == perm_name.PERM_READ_WRITE:
        return topics
    copies = []
    for topic in topics:
        copy = topic.copy()
        copy.perm &= broker_permission
        copies.append(copy)
    return copies
