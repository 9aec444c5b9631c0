"""The name servers this broker registers with, as addresses: the configured list, or what DNS says of its hosts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gantry.runtime.address import format_address, split_address
from gantry.runtime.address_source import NamesrvAddressSource
from gantry.runtime.clock import Clock

log = logging.getLogger(__name__)

LOOKUP_INTERVAL_MS = 120_000

Lookup = Callable[[str], Awaitable[list[str]]]
"""A host's addresses; raises OSError when it has none."""


async def system_lookup(host: str) -> list[str]:
    """What the machine's resolver answers, each address once, in its order."""
    found = await asyncio.get_running_loop().getaddrinfo(host, 0)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class NameServers:
    """The list in force, kept fresh.

    With `by_dns` every host of the list is looked up again each two minutes and stands for all its addresses; a look-up
    that fails leaves what it said before. Source: BrokerOuterAPI.dnsLookupAddressByDomain, BrokerController (5.3).
    """

    def __init__(
        self,
        source: NamesrvAddressSource,
        clock: Clock,
        *,
        by_dns: bool,
        on_change: Callable[[], None],
        lookup: Lookup = system_lookup,
    ) -> None:
        self._source = source
        self._clock = clock
        self._by_dns = by_dns
        self._on_change = on_change
        self._lookup = lookup
        self._resolved: dict[str, list[str]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> list[str]:
        """Every name server once: `ip:port`, or as configured where DNS is not asked or does not know the host."""
        configured = self._source.addresses
        if not self._by_dns:
            return configured
        return list(dict.fromkeys(address for entry in configured for address in self._resolved.get(entry, [entry])))

    @property
    def configured(self) -> list[str]:
        """The list as it was given."""
        return self._source.addresses

    async def start(self) -> None:
        await self._source.start()
        if self._by_dns:
            await self.refresh()
            self._task = asyncio.get_running_loop().create_task(self._again_and_again())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._source.stop()

    async def refresh(self) -> None:
        """Looks every host up now."""
        before = self.addresses
        for entry in self._source.addresses:
            host, port = split_address(entry)
            try:
                found = await self._lookup(host)
            except OSError as error:
                log.warning("name server host %s is not looked up, its addresses stay: %s", host, error)
                continue
            if found:
                self._resolved[entry] = [format_address(address, port) for address in found]
        if self.addresses != before:
            log.info("name server list changes from %s to %s", ";".join(before), ";".join(self.addresses))
            self._on_change()

    async def _again_and_again(self) -> None:
        while True:
            await self._clock.sleep_ms(LOOKUP_INTERVAL_MS)
            await self.refresh()
