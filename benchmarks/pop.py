"""POP consumption beside the official broker: `python -m benchmarks.pop [--short] [--rounds N] [--only NAME] [--write-docs]`.

Both servers stay up and take turns, as in `benchmarks.run`. A topic is filled before the clock starts; then popgen.c pops it
as the official push consumer does and acknowledges every message. A run counts only when each message came once, when each
acknowledgement was answered with success, and when all of them are committed afterwards. The last row is the time from a send
to the answer of a pop that waits.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import loadgen, machine
from benchmarks.growth import QUEUES, make_topics
from benchmarks.report import between
from benchmarks.run import RESULTS, SETTLE_S, Server, about, join_official, median, turns
from benchmarks.scenarios import Scenario
from benchmarks.servers import MeasuredGantry, cpu_seconds
from tests.interop.cluster import uncommitted

WARM_UP_POPS = 8_000
RATIO_MUST = 1.0
"""Messages per CPU-second of the server, ours by theirs: at or above."""
COMMIT_WITHIN_S = 10.0
TIMEOUT_S = 200
BODY_BYTES = 128


@dataclass(frozen=True, slots=True)
class PopScenario:
    """One run of popgen. `batch` is the most messages of a pop; `acks` "single" or "batch"."""

    name: str
    mode: str
    connections: int
    batch: int
    acks: str
    count: int
    short_count: int


SCENARIOS = (
    PopScenario("pop 1 + ack", "pop", 1, 1, "single", 10_000, 3_000),
    PopScenario("pop 1 + ack, 8 connections", "pop", 8, 1, "single", 20_000, 6_000),
    PopScenario("pop 32 + 32 acks", "pop", 1, 32, "single", 60_000, 16_000),
    PopScenario("pop 32 + 32 acks, 8 connections", "pop", 8, 32, "single", 60_000, 16_000),
    PopScenario("pop 32 + batch ack", "pop", 1, 32, "batch", 200_000, 40_000),
    PopScenario("pop 32 + batch ack, 8 connections", "pop", 8, 32, "batch", 200_000, 40_000),
    PopScenario("send to waiting pop, end to end", "e2e", 1, 32, "single", 3_000, 800),
)

Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a quarter of the messages, three rounds")
    parser.add_argument("--rounds", type=int, help="rounds of each scenario (5, with --short 3)")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--alone", action="store_true", help="without the official broker")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.short else 5)
    with tempfile.TemporaryDirectory(prefix="gantry-pop-") as name:
        rows = measure(Path(name), rounds, options)
    result = {
        **about(options.alone),
        "machine": machine.about(),
        "command": "python -m benchmarks.pop " + " ".join(sys.argv[1:]),
        "rounds": rounds,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"pop-{time.strftime('%Y%m%d-%H%M%S')}.json"
    target.write_text(json.dumps(result, indent=1))
    print(table(rows))
    print(f"raw figures: {target}")
    if options.write_docs:
        between(Path("docs/performance.md"), "pop", table(rows))


def measure(folder: Path, rounds: int, options: argparse.Namespace) -> list[Figures]:
    """All scenarios, on servers started for them."""
    fill_program, program = loadgen.build(folder), loadgen.compiled(loadgen.HERE / "popgen.c", folder)
    with ExitStack() as stack:
        servers: list[Server] = [stack.enter_context(MeasuredGantry(folder / "gantry", "ASYNC_FLUSH"))]
        join_official(servers, stack, fill_program, folder, "ASYNC_FLUSH", options.alone)
        for server in servers:
            for number, acks in enumerate(("single", "batch")):
                warm_up = PopScenario("warm-up", "pop", 4, 32, acks, WARM_UP_POPS, WARM_UP_POPS)
                one_run(fill_program, program, server, warm_up, f"pop_warm_up_{number}", WARM_UP_POPS)
        rows = []
        for number, scenario in enumerate(SCENARIOS):
            if options.only not in scenario.name:
                continue
            count = scenario.short_count if options.short else scenario.count
            runs: dict[str, list[Figures]] = {server.label: [] for server in servers}
            for round_number, server in turns(servers, rounds):
                topic = f"pop_{number}_{round_number}"
                runs[server.label].append(one_run(fill_program, program, server, scenario, topic, count))
            rows.append({"scenario": scenario.name, "runs": runs, "median": {key: median(run) for key, run in runs.items()}})
            print(
                f"{scenario.name}: "
                + ", ".join(
                    f"{key} {m['per_second']:,.0f}/s, {m['per_cpu_second']:,.0f} per CPU-second"
                    for key, m in rows[-1]["median"].items()
                ),
                flush=True,
            )
        return rows


def one_run(fill_program: Path, program: Path, server: Server, scenario: PopScenario, topic: str, count: int) -> Figures:
    """Fills a topic of its own, pops it, and says what that cost. Raises: RuntimeError when a message or an ack is missing."""
    make_topics(server, [topic])
    if scenario.mode == "pop":
        fill = Scenario("fill", "send", window=64, queues=QUEUES)
        filled = loadgen.run(fill_program, server.address, fill, topic, count)
        count = int(filled["messages"])  # a busy Java broker may have refused some
    time.sleep(SETTLE_S)
    host, port = server.address.rsplit(":", 1)
    group = f"group_{topic}"
    words = [
        str(program), host, port, scenario.mode, str(scenario.connections), str(scenario.batch), scenario.acks, str(count),
        topic, group, server.name, str(BODY_BYTES),
    ]  # fmt: skip
    before = cpu_seconds(server.pid)
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    spent = cpu_seconds(server.pid) - before
    if done.returncode != 0:
        raise RuntimeError(f"{scenario.name} on {server.label}: popgen ended with {done.returncode}: {done.stderr.strip()}")
    figures: Figures = json.loads(done.stdout)
    check(figures, scenario, server, topic, group, count)
    figures["server_cpu_seconds"] = spent
    figures["per_cpu_second"] = count / spent if spent else None
    return figures


def check(figures: Figures, scenario: PopScenario, server: Server, topic: str, group: str, count: int) -> None:
    """Raises: RuntimeError unless each message was popped once, acknowledged with success, and is committed."""
    wrong = {name: figures[name] for name in ("again", "errors") if figures[name]}
    if wrong or figures["messages"] != count or figures["acknowledged"] != count:
        raise RuntimeError(f"{scenario.name} on {server.label}: {count} messages, but {figures}")
    until = time.monotonic() + COMMIT_WITHIN_S
    while left := uncommitted(server.address, group, topic, QUEUES):
        if time.monotonic() > until:
            raise RuntimeError(f"{scenario.name} on {server.label}: {left} messages are not committed")
        time.sleep(0.05)


def table(rows: list[Figures]) -> str:
    """One line a scenario: both servers' figures and the ratios."""
    lines = [
        "| scenario | ours msg/s | per CPU-s | p50 / p99 us | official msg/s | per CPU-s | p50 / p99 us | msg/s | per CPU-s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["scenario"]]
        for label in ("gantry", "official"):
            found = row["median"].get(label)
            if found is None:
                cells += ["", "", ""]
                continue
            cells += [f"{found['per_second']:,.0f}", f"{found['per_cpu_second']:,.0f}"]
            cells.append(f"{found['p50_us']:,.0f} / {found['p99_us']:,.0f}")
        ours, theirs = row["median"]["gantry"], row["median"].get("official")
        for key in ("per_second", "per_cpu_second"):
            cells.append(f"{ours[key] / theirs[key]:.2f}x" if theirs and theirs[key] else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
