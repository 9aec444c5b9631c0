"""What a transaction costs, beside the official broker: `python -m benchmarks.transactions [--short] [--rounds N]`.

A half message and its end, as TransactionMQProducer of the official Java client sends them (5.5.0): the end has no answer. A
run is over when everything that was committed can be read, and counts only when it is exactly that (transactions.h). Both
servers stay up; each scenario runs on one and on the other in turn, round by round. Medians over the rounds are printed and
written, with every raw figure, to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import loadgen, machine
from benchmarks.report import between
from benchmarks.run import RESULTS, Server, about, join_official, median, one_run, turns
from benchmarks.scenarios import Scenario
from benchmarks.servers import MeasuredGantry

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"

SCENARIOS = (
    Scenario("window 1", "oneway", count=20_000, short_count=8_000, headers="json"),
    Scenario("window 64", "oneway", window=64, count=100_000, short_count=30_000, headers="json"),
    Scenario("window 64, binary headers", "oneway", window=64, count=100_000, short_count=30_000),
    Scenario("window 64, 8 connections", "oneway", connections=8, window=64, count=100_000, short_count=30_000, headers="json"),
    Scenario("window 64, 8 connections, 10 % rolled back", "oneway", connections=8, window=64, batch=10, count=100_000,
             short_count=30_000, headers="json"),
    Scenario("window 16, 8 connections, 1 KiB", "oneway", connections=8, window=16, body_bytes=1024, count=60_000,
             short_count=20_000, headers="json"),
    Scenario("window 64, commits answered", "transaction", window=64, count=60_000, short_count=20_000, headers="json"),
)  # fmt: skip
"""`batch` is the share of transactions that are rolled back, in percent."""

WARM_UP = Scenario("warm-up", "oneway", connections=4, window=16, batch=10, headers="json")
WARM_UP_COUNT = 20_000

TRIES = 4
MUST = 1.0
"""Messages a second, and per CPU-second of the server: at least those of the official broker."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer transactions, three rounds")
    parser.add_argument("--rounds", type=int, help="rounds of each scenario (5, with --short 3)")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--alone", action="store_true", help="without the official broker")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.short else 5)
    chosen = [scenario for scenario in SCENARIOS if options.only in scenario.name]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="gantry-transactions-") as name, ExitStack() as stack:
        folder = Path(name)
        program = loadgen.build(folder)
        servers: list[Server] = [stack.enter_context(MeasuredGantry(folder / "gantry", "ASYNC_FLUSH"))]
        join_official(servers, stack, program, folder, "ASYNC_FLUSH", options.alone)
        for server in servers:
            loadgen.run(program, server.address, WARM_UP, "bench_warm_up", WARM_UP_COUNT)
        for number, scenario in enumerate(chosen):
            runs: dict[str, list[dict[str, Any]]] = {server.label: [] for server in servers}
            for round_number, server in turns(servers, rounds):
                topic = f"transactions_{number}_{round_number}"
                runs[server.label].append(tried(program, server, scenario, topic, options.short))
            rows.append({"scenario": scenario.name, "runs": runs, "median": {key: median(run) for key, run in runs.items()}})
            print(f"{scenario.name}: " + ", ".join(f"{k} {m['per_second']:,.0f}/s" for k, m in rows[-1]["median"].items()))
    command = "python -m benchmarks.transactions" + (" --short" if options.short else "") + f" --rounds {rounds}"
    result = {**about(options.alone), "machine": machine.about(), "command": command, "rounds": rounds, "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"transactions-{time.strftime('%Y%m%d-%H%M%S')}.json").write_text(json.dumps(result, indent=1))
    text = table(result)
    print(text)
    if options.write_docs:
        between(PAGE, "transactions", text)


def tried(program: Path, server: Server, scenario: Scenario, topic: str, short: bool) -> dict[str, Any]:
    """One run. A server that refused too much, for the machine was busy with other work, is asked again."""
    for attempt in range(TRIES):
        try:
            return one_run(program, server, scenario, f"{topic}_{attempt}", short)
        except RuntimeError as error:
            if attempt == TRIES - 1:
                raise
            print(f"{server.label} once more: {error}")
    raise AssertionError


def table(result: dict[str, Any]) -> str:
    """Markdown: a line a scenario; latencies are those of the half, where the commit is answered those of both."""
    heads = ["scenario", "Gantry a second", "per CPU-s", "p50 / p99 us"]
    beside = any("official" in row["median"] for row in result["rows"])
    if beside:
        heads += ["official a second", "per CPU-s", "p50 / p99 us", "a second", "per CPU-s", "must"]
    lines = [
        f"Gantry {result['gantry']} ({result['core']} core, Python {result['python']})"
        + (f" and the official broker {result['official']}" if beside else "")
        + f"; {result['machine']}; medians of {result['rounds']} rounds; `{result['command']}`",
        "",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
    ]
    for row in result["rows"]:
        ours, theirs = row["median"]["gantry"], row["median"].get("official")
        cells = [row["scenario"], *_figures(ours)]
        if theirs:
            found = [ours[key] / theirs[key] if theirs[key] else 0.0 for key in ("per_second", "per_cpu_second")]
            reached = "reached" if min(found) >= MUST else "missed"
            cells += [*_figures(theirs), *(f"{ratio:.2f}x" for ratio in found), f"{MUST:g}x / {MUST:g}x: {reached}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _figures(median_of: dict[str, float]) -> list[str]:
    return [
        f"{median_of['per_second']:,.0f}",
        f"{median_of['per_cpu_second']:,.0f}",
        f"{median_of['p50_us']:,.0f} / {median_of['p99_us']:,.0f}",
    ]


if __name__ == "__main__":
    main()
