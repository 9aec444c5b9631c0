"""Delayed messages beside the official broker: what accepting, keeping and firing them costs, and how late they come.

    python -m benchmarks.delayed [--short] [--rounds N] [--count MESSAGES] [--alone] [--write-docs]

Both servers stay up; each kind of delay runs on one and on the other in turn. A run sends a burst, waits until all of it has
come (asking only for the ends of queues), takes the server's processor time, and then reads every message: each must be there,
once, not early. Lateness is the store time of the delivered message minus the time it was due.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import loadgen, machine
from benchmarks.report import between
from benchmarks.run import RESULTS, SETTLE_S, Server, about, turns
from benchmarks.scenarios import Scenario
from benchmarks.servers import MeasuredGantry, MeasuredOfficial, cpu_seconds
from tests.interop.artifacts import MissingTool

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
CONNECTIONS, WINDOW, QUEUES = 4, 64, 4
FIRST_MS, SPREAD_MS = 8_000, 4_000
WARM_UP_COUNT = 20_000


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to ask for a delay; `mode` is the generator's word for it."""

    mode: str
    name: str
    body_bytes: int = 128


KINDS = (
    Kind("level", "delay level 2 (5 s), 128 B"),
    Kind("delay", "TIMER_DELAY_MS, 8 to 12 s, 128 B"),
    Kind("deliver", "TIMER_DELIVER_MS, 8 to 12 s from now, 128 B"),
    Kind("deliver", "TIMER_DELIVER_MS, 8 to 12 s from now, 1 KiB", 1024),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer messages, two rounds")
    parser.add_argument("--rounds", type=int, help="rounds of each kind (3)")
    parser.add_argument("--count", type=int, help="messages of a run (60,000, with --short 20,000)")
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    parser.add_argument("--alone", action="store_true", help="without the official broker")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    rounds = options.rounds or (2 if options.short else 3)
    count = options.count or (20_000 if options.short else 60_000)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="gantry-delayed-") as name, ExitStack() as stack:
        folder = Path(name)
        program = loadgen.compiled(Path(__file__).with_name("delayed.c"), folder)
        sender = loadgen.build(folder)
        servers: list[Server] = [stack.enter_context(MeasuredGantry(folder / "gantry", "ASYNC_FLUSH"))]
        if not options.alone:
            # Not warmed up as others are: what it does about their transactions in the background would be counted here.
            try:
                servers.append(stack.enter_context(MeasuredOfficial(folder / "official", "ASYNC_FLUSH")))
            except MissingTool as error:
                print(f"the official broker is left out: {error}")
        for server in servers:
            for kind in KINDS[::2]:
                one_run(program, sender, server, kind, f"warm_{kind.mode}", WARM_UP_COUNT)
        for number, kind in enumerate(KINDS):
            if options.only not in kind.name:
                continue
            runs: dict[str, list[dict[str, Any]]] = {server.label: [] for server in servers}
            for at, server in turns(servers, rounds):
                runs[server.label].append(one_run(program, sender, server, kind, f"delayed_{number}_{at}", count))
            rows.append({"kind": kind.name, "runs": runs, "median": {label: median(each) for label, each in runs.items()}})
            print(f"{kind.name}: " + ", ".join(f"{k} {m['per_cpu_second']:,.0f}/CPU-s" for k, m in rows[-1]["median"].items()))
    command = f"python -m benchmarks.delayed --rounds {rounds} --count {count}"
    result = {**about(options.alone), "machine": machine.about(), "command": command, "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"delayed-{time.strftime('%Y%m%d-%H%M%S')}.json").write_text(json.dumps(result, indent=1))
    text = table(rows)
    print(text)
    if options.write_docs:
        head = f"Gantry {result['gantry']} ({result['core']} core), {result['machine']}"
        head += f"; medians of {rounds} rounds of {count:,} messages"
        between(PAGE, "delayed", f"{head}; `{command}`\n\n{text}")


def one_run(program: Path, sender: Path, server: Server, kind: Kind, topic: str, count: int) -> dict[str, Any]:
    """One burst. Raises: RuntimeError when a message is missing, comes twice or comes early."""
    fill = Scenario("fill", "send", window=1, queues=QUEUES)
    loadgen.run(sender, server.address, fill, topic, QUEUES, refused_share_max=1)
    time.sleep(SETTLE_S)
    host, port = server.address.rsplit(":", 1)
    numbers = (CONNECTIONS, WINDOW, kind.body_bytes, count, topic, QUEUES, FIRST_MS, SPREAD_MS)
    words = [str(program), host, port, kind.mode, *map(str, numbers)]
    before = cpu_seconds(server.pid)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        spent = cpu_seconds(server.pid) - before
        if line:
            process.stdin.write("\n")
            process.stdin.flush()
        rest = process.stdout.read()
    if process.returncode != 0 or not line:
        raise RuntimeError(f"{server.label}, {kind.name}: the generator ended with {process.returncode}")
    figures: dict[str, Any] = {**json.loads(line), **json.loads(rest)}
    if figures["errors"] > count * loadgen.REFUSED_SHARE_MAX:
        raise RuntimeError(f"{server.label}, {kind.name}: {figures['errors']} refused, the first: {figures['first_error']}")
    # Refused messages leave gaps in the numbers, so what came is compared with what was acknowledged.
    if figures["came"] != figures["messages"] or figures["twice"] or figures["early"] or figures["strange"]:
        raise RuntimeError(f"{server.label}, {kind.name}: {figures}")
    figures["server_cpu_seconds"] = spent
    figures["per_cpu_second"] = figures["messages"] / spent if spent else 0.0
    figures["accepted_per_second"] = figures["messages"] / figures["send_s"]
    return figures


def median(runs: list[dict[str, Any]]) -> dict[str, float]:
    keys = ("per_cpu_second", "accepted_per_second", "p50_ms", "p99_ms", "max_ms")
    return {key: statistics.median(run[key] for run in runs) for key in keys}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: messages a server processor second (accepted, kept and fired), accepted a second, lateness in ms."""
    with_official = any("official" in row["median"] for row in rows)
    lines = [
        "| | Gantry per CPU-s | accepted/s | late p50 / p99 ms |"
        + (" official per CPU-s | accepted/s | late p50 / p99 ms | per CPU-s |" if with_official else ""),
        "|---|---|---|---|" + ("---|---|---|---|" if with_official else ""),
    ]
    for row in rows:
        ours, theirs = row["median"]["gantry"], row["median"].get("official")
        cells = [row["kind"], *_cells(ours)]
        if theirs:
            cells += [*_cells(theirs), f"{ours['per_cpu_second'] / theirs['per_cpu_second']:.2f}x"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cells(figures: dict[str, float]) -> list[str]:
    return [
        f"{figures['per_cpu_second']:,.0f}",
        f"{figures['accepted_per_second']:,.0f}",
        f"{figures['p50_ms']:,.0f} / {figures['p99_ms']:,.0f}",
    ]


if __name__ == "__main__":
    main()
