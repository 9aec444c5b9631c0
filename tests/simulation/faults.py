"""What goes wrong in a simulated cluster: one fault after another, each over before the next one of the same kind begins."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from gantry.testing.simulated_cluster import SimulatedBroker, SimulatedCluster

if TYPE_CHECKING:
    from gantry.testing.seeded_rng import SeededRng

    from .delayed import Delayed
    from .former_logs import FormerLogs
    from .ledger import Ledger
    from .popping import Popping
    from .trace import Trace


class Faults:
    """Disturbs the cluster until stop(); then heal() makes everything whole again.

    A broker that was killed has lost nothing; one whose power was cut has lost what was not synced, under ASYNC_FLUSH
    acknowledged messages among it: the ledger is told.
    """

    def __init__(
        self,
        cluster: SimulatedCluster,
        rng: SeededRng,
        trace: Trace,
        ledger: Ledger,
        delayed: Delayed,
        popping: Popping,
        logs: FormerLogs,
    ) -> None:
        self.counts: dict[str, int] = {}
        self._cluster = cluster
        self._rng = rng
        self._trace = trace
        self._ledger = ledger
        self._delayed = delayed
        self._popping = popping
        self._logs = logs
        self._stopped = False
        self._kinds: list[tuple[str, int, Callable[[], Awaitable[None]]]] = [
            ("kill", 4, self._kill),
            ("power cut", 4, self._cut_power),
            ("restart", 1, self._restart),
            ("failed sync", 2, self._fail_sync),
            ("disk full", 2, self._fill_disk),
            ("slow disk", 2, self._slow_disk),
            ("partition", 3, self._partition),
            ("broken connections", 3, self._break_connections),
            ("latency", 2, self._latency),
            ("name server", 2, self._name_server),
            ("wall clock", 2, self._wall_clock),
        ]

    async def run(self) -> None:
        """One fault at a time, with pauses in which the cluster comes to rest, or does not."""
        weights = [kind for kind in self._kinds for _ in range(kind[1])]
        while not self._stopped:
            await self._sleep(500, 8_000)
            if self._stopped:
                return
            name, _, fault = self._rng.choice(weights)
            self.counts[name] = self.counts.get(name, 0) + 1
            await fault()

    def stop(self) -> None:
        self._stopped = True

    async def heal(self) -> None:
        """The network is whole, the clock runs, everything that was down is up."""
        cluster = self._cluster
        self._trace.add("heal")
        cluster.net.heal()
        cluster.net.set_latency_ms(0)
        for server in cluster.name_server_list:
            await server.stop()
            await server.start()
        for broker in cluster.brokers:
            broker.disk.heal()
            broker.disk.before_run = None
            if broker.running and broker.controller.context.store.writable_reason() is not None:
                await self._crash(broker, power=True)
            if not broker.running:
                await self._start(broker)

    # -- machines

    async def _kill(self) -> None:
        broker = self._rng.choice(self._cluster.brokers)
        await self._crash(broker, power=False)
        await self._sleep(0, 5_000)
        await self._start(broker)

    async def _cut_power(self) -> None:
        brokers = self._cluster.brokers if self._rng.random() < 0.2 else [self._rng.choice(self._cluster.brokers)]
        for broker in brokers:
            await self._crash(broker, power=True)
        await self._sleep(0, 5_000)
        for broker in brokers:
            await self._start(broker)

    async def _restart(self) -> None:
        broker = self._rng.choice(self._cluster.brokers)
        self._trace.add(f"stop {broker.name}")
        self._logs.goes(broker, power=False)
        await broker.stop()
        await self._sleep(0, 3_000)
        await self._start(broker)

    async def _crash(self, broker: SimulatedBroker, *, power: bool) -> None:
        if not broker.running:
            return
        keep = ("none" if self._rng.random() < 0.3 else "subset") if power else "all"
        self._trace.add(f"crash {broker.name}, keeps {keep}")
        self._ledger.crashes(broker.name, power=power)
        self._logs.goes(broker, power=power)
        if power:
            self._popping.power_fails(broker.name)
        await self._cluster.crash(broker, keep)  # type: ignore[arg-type]

    async def _start(self, broker: SimulatedBroker) -> None:
        await broker.start()
        self._popping.starts(broker.name)
        self._trace.add(f"start {broker.name}, log ends at {broker.controller.context.store.max_physical_offset}")
        self._ledger.started(broker)
        self._logs.comes(broker)

    # -- disks

    async def _fail_sync(self) -> None:
        """Final for the process: it goes on read-only until its machine comes up anew."""
        broker = self._rng.choice(self._cluster.brokers)
        self._trace.add(f"syncs of {broker.name} fail")
        self._popping.disk_fails(broker.name)
        broker.disk.fail("sync", error=errno.EIO, nth=1 + self._rng.randrange(3), path_part="commitlog")
        await self._sleep(1_000, 10_000)
        broker.disk.heal()
        await self._crash(broker, power=True)
        await self._sleep(0, 2_000)
        await self._start(broker)

    async def _fill_disk(self) -> None:
        broker = self._rng.choice(self._cluster.brokers)
        self._trace.add(f"disk of {broker.name} is full")
        self._popping.disk_fails(broker.name)
        for op in ("pwrite", "allocate", "create"):
            broker.disk.fail(op, error=errno.ENOSPC, times=1_000_000, partial=op == "pwrite")
        await self._sleep(500, 8_000)
        broker.disk.heal()
        self._popping.disk_fails(broker.name)
        self._trace.add(f"disk of {broker.name} has room")

    async def _slow_disk(self) -> None:
        broker = self._rng.choice(self._cluster.brokers)
        delay_ms = 5 + self._rng.randrange(500)
        self._trace.add(f"disk of {broker.name} takes {delay_ms} ms more")
        broker.disk.before_run = lambda: self._cluster.clock.sleep_ms(delay_ms)
        await self._sleep(500, 8_000)
        broker.disk.before_run = None

    # -- network

    async def _partition(self) -> None:
        cluster = self._cluster
        broker = self._rng.choice(cluster.brokers)
        others = [cluster.host_of("client"), *(cluster.host_of(server.name) for server in cluster.name_server_list)]
        other = self._rng.choice(others)
        self._trace.add(f"{broker.name} and {other} do not hear each other")
        cluster.net.partition(cluster.host_of(broker.name), other)
        await self._sleep(500, 30_000)
        cluster.net.heal()
        self._trace.add("the network is whole")

    async def _break_connections(self) -> None:
        broker = self._rng.choice(self._cluster.brokers)
        count = self._cluster.net.break_connections(self._cluster.host_of(broker.name))
        self._trace.add(f"{count} connections of {broker.name} break")

    async def _latency(self) -> None:
        latency_ms = self._rng.randrange(200)
        self._trace.add(f"the network takes {latency_ms} ms")
        self._cluster.net.set_latency_ms(latency_ms)
        await self._sleep(500, 8_000)
        self._cluster.net.set_latency_ms(0)

    async def _name_server(self) -> None:
        server = self._rng.choice(self._cluster.name_server_list)
        self._trace.add(f"stop {server.name}")
        await server.stop()
        await self._sleep(500, 30_000)
        await server.start()
        self._trace.add(f"start {server.name}")

    # -- time

    async def _wall_clock(self) -> None:
        delta_ms = self._rng.randrange(7_200_000) - 3_600_000
        self._trace.add(f"the wall clock jumps by {delta_ms} ms")
        self._cluster.clock.jump_wall_ms(delta_ms)
        self._delayed.wall_jumps(delta_ms)
        self._popping.wall_jumps()

    async def _sleep(self, least_ms: int, most_ms: int) -> None:
        await self._cluster.clock.sleep_ms(least_ms + self._rng.randrange(most_ms - least_ms + 1))
