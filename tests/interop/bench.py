"""What nearly every scenario says, said shortly."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .cluster import Cluster, has_route
from .driver import Crew, Driver, Received, eventually


class Bench:
    """A cluster seen by one official client, with a topic and a group nobody used before."""

    _serial = 0

    def __init__(self, cluster: Cluster, crew: Crew) -> None:
        Bench._serial += 1
        self.cluster = cluster
        self.crew = crew
        self.drivers = crew.members()
        self.mark = f"{os.getpid()}x{Bench._serial}x{int(time.time()) % 100_000}"
        self.topic = f"Interop-{self.mark}"
        self.group = f"group-{self.mark}"
        self._former: list[Driver] = []
        self._undo: list[Callable[[], object]] = []

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        for undo in reversed(self._undo):
            undo()

    @property
    def where(self) -> dict[str, object]:
        """The addresses every request carries."""
        broker = self.cluster.broker
        return {"namesrv": self.cluster.namesrv_address, "broker": broker.name, "broker_address": broker.address}

    def ask(self, driver: Driver, op: str, **members: object) -> dict[str, Any]:
        return driver.begin(op, **self.where, **members).result()

    def stop_later(self, driver: Driver, op: str, name: str) -> None:
        def stop() -> None:
            # Not waited for: the Java client takes up to 3 s over it, and no later test shares the name.
            if driver.running:
                driver.begin(op, name=name)

        self._undo.append(stop)

    def producer(self, driver: Driver, **options: object) -> Sender:
        """A started producer."""
        name = f"p-{self.mark}-{len(self._undo)}"
        self.ask(driver, "producer_start", name=name, group=f"P-{self.mark}", **options)
        self.stop_later(driver, "producer_stop", name)
        return Sender(self, driver, name)

    def make_group_known(self, group: str) -> None:
        """Lets a consumer of the group come and go, so that the name server knows the group's retry topic.

        A client asks for the route of its retry topic before its first heartbeat makes the broker create it, and asks
        again only 30 s later: without this, the first consumer of a new group sees its retries after that time.
        """
        driver = self.drivers[0]
        name = f"known-{group}"
        self.ask(driver, "consumer_start", name=name, group=group, topic=self.topic)
        retry_topic = f"%RETRY%{group}"
        eventually(
            lambda: has_route(self.cluster.namesrv_address, self.cluster.broker.address, retry_topic),
            10,
            f"the heartbeat of {group} did not make {retry_topic}",
        )
        driver.call("consumer_stop", name=name)

    def consumer(self, driver: Driver, *, group: str = "", topic: str = "", name: str = "", **options: object) -> str:
        """A started push consumer; returns its name, which its consumptions carry."""
        name = name or f"c{self.drivers.index(driver)}-{self.mark}-{len(self._undo)}"
        members = {"name": name, "group": group or self.group, "topic": topic or self.topic, **options}
        self.ask(driver, "consumer_start", **members)
        self.stop_later(driver, "consumer_stop", name)
        return name

    def consumed(self, *names: str) -> list[Received]:
        """What the named consumers have consumed, whichever process they run in."""
        return [each for driver in self.everyone for name in names for each in driver.consumed(name)]

    @property
    def everyone(self) -> list[Driver]:
        """The processes of this bench, those killed meanwhile included."""
        return self._former + self.drivers

    def kill(self, driver: Driver) -> None:
        """Kills one process; `drivers` keeps the dead one until `replace`."""
        driver.kill()

    def replace(self) -> None:
        """Brings a new process for each dead one."""
        self._former += [driver for driver in self.drivers if not driver.running]
        self.drivers = self.crew.members()


class Sender:
    """One started producer."""

    def __init__(self, bench: Bench, driver: Driver, name: str) -> None:
        self.bench = bench
        self.driver = driver
        self.name = name

    def create_topic(self, topic: str = "", queues: int = 8) -> None:
        self.bench.ask(self.driver, "create_topic", name=self.name, topic=topic or self.bench.topic, queues=queues)

    def send(self, messages: Sequence[Mapping[str, object]], *, topic: str = "", mode: str = "sync") -> list[dict[str, Any]]:
        members: dict[str, Any] = {"name": self.name, "topic": topic or self.bench.topic, "mode": mode}
        answer = self.bench.ask(self.driver, "send", messages=list(messages), **members)
        results: list[dict[str, Any]] = answer.get("results") or []
        return results

    def begin_bulk(self, count: int, prefix: str, *, topic: str = "", **members: object) -> Callable[[], list[list[Any]]]:
        """Starts many sends; the returned function waits for them and gives `[number, queue, offset, status]` each."""
        call = self.driver.begin(
            "bulk", name=self.name, topic=topic or self.bench.topic, count=count, prefix=prefix, **self.bench.where, **members
        )

        def finish() -> list[list[Any]]:
            answer = call.result(120)
            assert not answer["failures"], f"{len(answer['failures'])} sends failed, first {answer['failures'][0]}"
            acks: list[list[Any]] = answer["acks"]
            assert len(acks) == count
            assert {ack[3] for ack in acks} == {"SEND_OK"}
            return acks

        return finish
