"""How the figures change as topics, connections, backlog and log grow, beside the official broker in the same run.

    python -m benchmarks.growth [--short] [--rounds N] [--alone] [--write-docs] [--only topics|connections|backlog|start]

Each curve starts servers of its own. `--write-docs` puts table and plots into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import loadgen, plots
from benchmarks.report import between
from benchmarks.run import RESULTS, Server, about, join_official, measured, turns
from benchmarks.scenarios import Scenario
from benchmarks.servers import MeasuredGantry, anonymous_kib
from gantry.protocol.remoting.codes import RequestCode
from tests.e2e.raw_peer import Peer

Point = dict[str, Any]

QUEUES = 8
TOPICS_A_REQUEST = 500
FILL_MESSAGES = 500_000  # of one run of the generator, which gives up after two minutes
OURS = {"connectionsPerAddressMax": 8_000, "defaultTopicQueueNums": QUEUES}


class Growth:
    """One run of all curves."""

    def __init__(self, folder: Path, *, short: bool, rounds: int, alone: bool) -> None:
        self._folder = folder
        self._program = loadgen.build(folder)
        self._short = short
        self._rounds = rounds
        self._alone = alone

    def servers(self, name: str, stack: ExitStack) -> list[Server]:
        found: list[Server] = [stack.enter_context(MeasuredGantry(self._folder / name / "gantry", "ASYNC_FLUSH", OURS))]
        join_official(found, stack, self._program, self._folder / name, "ASYNC_FLUSH", self._alone)
        return found

    def topics(self) -> Iterator[Point]:
        """Sends in turn to more and more topics of 8 queues each: 8 connections, window 64."""
        load = Scenario("topics", "send", connections=8, window=64, queues=QUEUES)
        with ExitStack() as stack:
            servers = self.servers("topics", stack)
            for count in (1, 100, 5_000):
                prefix = f"Grow{count}T00000"
                for server in servers:
                    make_topics(server, [f"{prefix[:-5]}{number:05d}" for number in range(count)])
                    self._send(server, load, prefix, max(4 * count, 20_000), count)
                yield from self._points(
                    servers, count, lambda s, p=prefix, c=count: self._send(s, load, p, self._messages(400_000), c)
                )

    def connections(self) -> Iterator[Point]:
        """The same sends over more and more connections: 64 in flight on one, else one on each."""
        with ExitStack() as stack:
            servers = self.servers("connections", stack)
            for count in (1, 100, 5_000):
                load = Scenario("connections", "send", connections=count, window=64 if count == 1 else 1, queues=QUEUES)
                for server in servers:
                    make_topics(server, ["GrowC"])
                yield from self._points(
                    servers, count, lambda s, one=load: self._send(s, one, "GrowC", self._messages(200_000), 1)
                )

    def backlog(self) -> Iterator[Point]:
        """Sends while ever more messages lie unread, and pulls of the oldest of them."""
        send = Scenario("backlog", "send", connections=8, window=64, queues=4)
        pull = Scenario("backlog", "pull", queues=4)
        with ExitStack() as stack:
            servers = self.servers("backlog", stack)
            there = 0
            for count in (0, 1_000_000) if self._short else (0, 1_000_000, 10_000_000):
                for server in servers:
                    make_topics(server, ["GrowB"])
                    for _ in range((count - there) // FILL_MESSAGES):
                        loadgen.run(self._program, server.address, send, "GrowB", FILL_MESSAGES)
                there = count
                yield from self._points(servers, count, lambda s: self._send(s, send, "GrowOther", self._messages(200_000), 1))
                if count:
                    yield from self._points(
                        servers,
                        count,
                        lambda s: self._send(s, pull, "GrowB", self._messages(400_000), 1),
                        series="pull of the oldest",
                    )

    def start(self) -> Iterator[Point]:
        """Start after a clean stop and after kill -9, with ever more log."""
        load = Scenario("start", "send", connections=8, window=64, queues=4)
        with ExitStack() as stack:
            servers = self.servers("start", stack)
            there = 0
            for count in (0, 400_000) if self._short else (0, 400_000, 4_000_000):
                for server in servers:
                    for _ in range(-(-(count - there) // FILL_MESSAGES)):
                        self._fill(server, load, min(FILL_MESSAGES, count - there))
                there = count
                mib = log_mib(servers[0].store)
                for server in servers:
                    for series, end in (("after a clean stop", server.stop), ("after kill -9", server.kill)):
                        taken = []
                        for _ in range(1 if self._short else 3):
                            self._fill(server, load, 20_000)
                            end()
                            server.start()
                            taken.append(server.started_in_s)
                        yield {"at": mib, "server": server.label, "series": series, "seconds": statistics.median(taken)}

    def _fill(self, server: Server, load: Scenario, count: int) -> None:
        """A Java broker just started refuses some as busy: here it only matters that there are some."""
        loadgen.run(self._program, server.address, load, "GrowS", count, refused_share_max=0.5)

    def _messages(self, count: int) -> int:
        return count // 4 if self._short else count

    def _send(self, server: Server, load: Scenario, topic: str, count: int, topics: int) -> Point:
        return measured(self._program, server, load, topic, count, topics)

    def _points(
        self, servers: list[Server], at: int, measure: Callable[[Server], Point], series: str = "send"
    ) -> Iterator[Point]:
        runs: dict[str, list[Point]] = {server.label: [] for server in servers}
        for _, server in turns(servers, self._rounds):
            runs[server.label].append(measure(server))
        for server in servers:
            found = runs[server.label]
            yield {
                "at": at,
                "server": server.label,
                "series": series,
                "mib": anonymous_kib(server.pid) / 1024,
                **{
                    key: statistics.median([run[key] for run in found if run[key] is not None] or [0.0])
                    for key in ("per_second", "per_cpu_second", "p50_us", "p99_us")
                },
            }


def make_topics(server: Server, names: list[str]) -> None:
    """Makes topics of 8 queues, some hundreds a request."""
    with Peer(server.address) as peer:
        peer.socket.settimeout(120)
        for begin in range(0, len(names), TOPICS_A_REQUEST):
            rows = [
                {"topicName": name, "readQueueNums": QUEUES, "writeQueueNums": QUEUES, "perm": 6,
                 "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": False, "attributes": {}}
                for name in names[begin : begin + TOPICS_A_REQUEST]
            ]  # fmt: skip
            body = json.dumps({"topicConfigList": rows}).encode()
            answer = peer.ask(int(RequestCode.UPDATE_AND_CREATE_TOPIC_LIST), {}, body)
            if answer.code != 0:
                raise RuntimeError(f"{server.label} made no topics: {answer.code} {answer.remark}")


def log_mib(store: Path) -> float:
    """What lies in the log: zero bytes are only behind its end, in its last file and those made ahead."""
    files = sorted((store / "commitlog").iterdir())
    for path in reversed(files):
        with path.open("rb") as file:
            if any(file.read(4)):
                low, high = 0, path.stat().st_size
                while high - low > 1 << 20:
                    middle = (low + high) // 2
                    file.seek(middle)
                    low, high = (middle, high) if any(file.read(1 << 16)) else (low, middle)
                return (int(path.name) - int(files[0].name) + high) / (1 << 20)
    return 0.0


CURVES = ("topics", "connections", "backlog", "start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a quarter of the messages, one round, no ten million")
    parser.add_argument("--rounds", type=int, help="rounds of each point (3, with --short 1)")
    parser.add_argument("--only", choices=CURVES, help="one of the curves")
    parser.add_argument("--alone", action="store_true", help="without the official broker")
    parser.add_argument("--write-docs", action="store_true", help="put table and plots into docs/performance.md")
    options = parser.parse_args()
    curves: dict[str, list[Point]] = {}
    with tempfile.TemporaryDirectory(prefix="gantry-growth-") as name:
        growth = Growth(
            Path(name), short=options.short, rounds=options.rounds or (1 if options.short else 3), alone=options.alone
        )
        for curve in [options.only] if options.only else CURVES:
            curves[curve] = []
            for point in getattr(growth, curve)():
                curves[curve].append(point)
                print(
                    curve, json.dumps({key: round(v, 3) if isinstance(v, float) else v for key, v in point.items()}), flush=True
                )
    result = {**about(options.alone), "curves": curves}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"growth-{time.strftime('%Y%m%d-%H%M%S')}.json").write_text(json.dumps(result, indent=1))
    if options.write_docs:
        for name, points in curves.items():
            between(Path("docs/performance.md"), f"growth of {name}", plots.growth(Path("docs/images"), name, points))


if __name__ == "__main__":
    main()
