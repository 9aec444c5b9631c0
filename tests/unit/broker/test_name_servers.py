"""The list of name servers, by DNS and by an address server."""

from __future__ import annotations

from gantry.broker.name_servers import LOOKUP_INTERVAL_MS, NameServers
from gantry.runtime.address_source import NamesrvAddressPlan, NamesrvAddressSource
from gantry.testing import MemoryNet, VirtualClock


class Resolver:
    def __init__(self, table: dict[str, list[str]]) -> None:
        self.table = table

    async def __call__(self, host: str) -> list[str]:
        if host not in self.table:
            raise OSError(f"{host} not known")
        return self.table[host]


def servers(clock: VirtualClock, resolver: Resolver, changes: list[int], *, by_dns: bool = True) -> NameServers:
    plan = NamesrvAddressPlan(["ns:9876", "other:9877"], None, "the test")
    source = NamesrvAddressSource(MemoryNet(clock), clock, plan)
    return NameServers(source, clock, by_dns=by_dns, on_change=lambda: changes.append(1), lookup=resolver)


async def test_without_dns_the_list_is_as_configured() -> None:
    clock = VirtualClock()
    found = servers(clock, Resolver({}), [], by_dns=False)
    await found.start()
    assert found.addresses == ["ns:9876", "other:9877"]
    await found.stop()


async def test_a_host_stands_for_all_its_addresses_and_follows_dns() -> None:
    clock = VirtualClock()
    resolver = Resolver({"ns": ["10.0.0.1", "10.0.0.2"]})
    changes: list[int] = []
    found = servers(clock, resolver, changes)
    await found.start()
    # A host that does not resolve stays as it is: the connection will say what is wrong.
    assert found.addresses == ["10.0.0.1:9876", "10.0.0.2:9876", "other:9877"]
    assert found.configured == ["ns:9876", "other:9877"]
    assert len(changes) == 1
    resolver.table = {"ns": ["10.0.0.2"], "other": ["10.0.0.9", "::1"]}
    await clock.run_ms(LOOKUP_INTERVAL_MS)
    assert found.addresses == ["10.0.0.2:9876", "10.0.0.9:9877", "[::1]:9877"]
    resolver.table = {}
    await clock.run_ms(LOOKUP_INTERVAL_MS)
    assert found.addresses == ["10.0.0.2:9876", "10.0.0.9:9877", "[::1]:9877"]
    assert len(changes) == 2
    await found.stop()
    assert clock.timer_count == 0
