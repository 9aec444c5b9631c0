"""Measures this broker and, where Java is there, the official one side by side: `python -m benchmarks.run [--short]`.

Both servers stay up; each scenario runs on one and on the other in turn, round by round, so that a drift of the machine
hits both. Medians over the rounds are printed and written, with every raw figure, to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import loadgen, machine
from benchmarks.report import page, table
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.servers import (
    FLOORS,
    MeasuredAwakeFloor,
    MeasuredFloor,
    MeasuredGantry,
    MeasuredOfficial,
    MeasuredPure,
    anonymous_kib,
    cpu_seconds,
    official_version,
)
from gantry import __version__
from gantry._core import ACCEL
from tests.interop.artifacts import MissingTool

RESULTS = Path(__file__).resolve().parent / "results"
WARM_UP_MESSAGES = 60_000
WARM_UP_TRANSACTIONS = 20_000
MEMORY_MESSAGES = 10_000_000
MEMORY_RUNS = 20
SETTLE_S = 0.3
"""Between runs: what a server still has to write of the last one is not measured with the next."""

Server = MeasuredGantry | MeasuredPure | MeasuredOfficial | MeasuredFloor
Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="about three minutes: fewer messages, three rounds")
    parser.add_argument("--rounds", type=int, help="rounds of each scenario (5, with --short 3)")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--alone", action="store_true", help="without the official broker")
    parser.add_argument("--floor", action="store_true", help="also the least a broker can do on this machine (floor.c)")
    parser.add_argument("--fresh-memory", action="store_true", help="do not fill the page cache first (machine.py says why)")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.short else 5)
    chosen = [scenario for scenario in SCENARIOS if options.only in scenario.name]
    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as name:
        folder = Path(name)
        program = loadgen.build(folder)
        rows: list[Figures] = []
        memory: Figures = {}
        for flush in dict.fromkeys(scenario.flush for scenario in chosen):
            if not options.short and not options.fresh_memory:
                machine.fill_page_cache(folder)
            group = [scenario for scenario in chosen if scenario.flush == flush]
            rows += measure(folder / flush, program, group, flush, rounds, options)
        if not options.only and not options.short:
            memory = measure_memory(folder / "memory", program, options.alone)
            print("MiB without mapped pages: " + ", ".join(f"{label} {mib:.0f}" for label, mib in memory["mib"].items()))
    result = {
        **about(options.alone),
        "machine": machine.about(),
        "command": "python -m benchmarks.run " + " ".join(sys.argv[1:]),
        "rounds": rounds,
        "rows": rows,
        "memory": memory,
    }
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    target.write_text(json.dumps(result, indent=1))
    print(table(result))
    print(f"raw figures: {target.relative_to(Path.cwd()) if target.is_relative_to(Path.cwd()) else target}")
    if options.write_docs:
        page(Path("docs/performance.md"), result)


def measure(
    folder: Path, program: Path, group: list[Scenario], flush: str, rounds: int, options: argparse.Namespace
) -> list[Figures]:
    """All scenarios of one flush mode, on servers started for it."""
    with ExitStack() as stack:
        servers: list[Server] = []
        for kind in (MeasuredGantry, MeasuredPure):
            if any(scenario.server == kind.label for scenario in group):
                servers.append(stack.enter_context(kind(folder / kind.label, flush)))
        join_official(servers, stack, program, folder, flush, options.alone)
        floors = [MeasuredFloor, MeasuredAwakeFloor] if options.floor else []
        servers += [stack.enter_context(kind(folder / kind.__name__, flush)) for kind in floors]
        rows = []
        for number, scenario in enumerate(group):
            # The floor answers sends and pulls only.
            labels = (scenario.server, "official", *(FLOORS if scenario.mode != "transaction" else ()))
            measured = [server for server in servers if server.label in labels]
            runs: dict[str, list[Figures]] = {server.label: [] for server in measured}
            for round_number, server in turns(measured, rounds):
                topic = f"bench_{number}_{round_number}"
                runs[server.label].append(one_run(program, server, scenario, topic, options.short))
            rows.append({"scenario": scenario.name, "runs": runs, "median": {key: median(run) for key, run in runs.items()}})
            print(f"{scenario.name}: " + ", ".join(f"{k} {m['per_second']:,.0f}/s" for k, m in rows[-1]["median"].items()))
        for server in servers:
            if server.label not in FLOORS:
                print(f"{server.label}: {anonymous_kib(server.pid) / 1024:.0f} MiB without mapped pages after the {flush} runs")
        return rows


def turns(servers: list[Server], rounds: int) -> Iterator[tuple[int, Server]]:
    """Round and server; every other round begins with the last one."""
    for number in range(rounds):
        for server in servers if number % 2 == 0 else servers[::-1]:
            yield number, server


def measure_memory(folder: Path, program: Path, alone: bool) -> Figures:
    """What the process holds itself, without mapped pages, after ten million messages of 128 B."""
    kinds: list[type[Server]] = [MeasuredGantry] if alone else [MeasuredGantry, MeasuredOfficial]
    found: dict[str, float] = {}
    for kind in kinds:
        try:
            with kind(folder / kind.label, "ASYNC_FLUSH") as server:
                load = Scenario("memory", "send", connections=8, window=64)
                for number in range(MEMORY_RUNS):
                    loadgen.run(program, server.address, load, f"bench_memory_{number}", MEMORY_MESSAGES // MEMORY_RUNS)
                found[kind.label] = anonymous_kib(server.pid) / 1024
        except MissingTool as error:
            print(f"the official broker is left out: {error}")
    return {"messages": MEMORY_MESSAGES, "mib": found}


def join_official(servers: list[Server], stack: ExitStack, program: Path, folder: Path, flush: str, alone: bool) -> None:
    """Starts the official broker beside ours, unless `alone` or where it cannot run, and warms up all of them."""
    if not alone:
        try:
            servers.append(stack.enter_context(MeasuredOfficial(folder / "official", flush)))
        except MissingTool as error:
            print(f"the official broker is left out: {error}")
    for server in servers:
        warm_up(program, server)


def about(alone: bool) -> Figures:
    """What a file of results says of the versions that made it."""
    return {
        "gantry": __version__,
        "core": ACCEL,
        "python": platform.python_version(),
        "official": None if alone else official_version(),
    }


def warm_up(program: Path, server: Server) -> None:
    """Enough work for a just-in-time compiler to have seen the hot path, and the first topic made."""
    for headers in ("binary", "json"):
        scenario = Scenario("warm-up", "send", connections=4, window=16, headers=headers)
        loadgen.run(program, server.address, scenario, "bench_warm_up", WARM_UP_MESSAGES)
    loadgen.run(program, server.address, Scenario("warm-up", "pull"), "bench_warm_up", WARM_UP_MESSAGES)
    transactions = Scenario("warm-up", "transaction", connections=4, window=16)
    loadgen.run(program, server.address, transactions, "bench_warm_up", WARM_UP_TRANSACTIONS)


def one_run(program: Path, server: Server, scenario: Scenario, topic: str, short: bool) -> Figures:
    count = scenario.short_count if short else scenario.count
    # The topic is made, and for a pull filled, before the clock starts.
    fill = Scenario("fill", "send", window=64, queues=scenario.queues)
    if scenario.mode == "pull":
        loadgen.run(program, server.address, fill, topic, count)
    else:
        # A broker that is busy with the topic's making may refuse some of the few sends.
        loadgen.run(program, server.address, fill, topic, scenario.queues, refused_share_max=1)
    time.sleep(SETTLE_S)
    return measured(program, server, scenario, topic, count)


def measured(program: Path, server: Server, scenario: Scenario, topic: str, count: int, topics: int = 1) -> Figures:
    """What the generator says, and the server's processor time for it."""
    before = cpu_seconds(server.pid)
    figures = loadgen.run(program, server.address, scenario, topic, count, topics)
    spent = cpu_seconds(server.pid) - before
    figures["server_cpu_seconds"] = spent
    figures["per_cpu_second"] = figures["messages"] / spent if spent else None
    return figures


def median(runs: list[Figures]) -> Figures:
    keys = ("per_second", "per_cpu_second", "p50_us", "p99_us", "p999_us")
    return {key: statistics.median([run[key] for run in runs if run[key] is not None] or [0.0]) for key in keys}


if __name__ == "__main__":
    main()
