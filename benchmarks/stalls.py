"""The longest waits of a long run at a steady pace, beside the official broker at the same time.

    python -m benchmarks.stalls [--minutes N] [--rate MESSAGES_A_SECOND] [--alone] [--write-docs]

Both servers are under the same load at the same moment, each from a generator of its own, so that whatever else the machine
does hits both. A latency counts from the moment its message was due: a server that stands still for 100 ms is seen by
every message of these 100 ms.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import loadgen
from benchmarks.report import between
from benchmarks.run import RESULTS, Server, about, join_official
from benchmarks.scenarios import Scenario
from benchmarks.servers import MeasuredGantry, cpu_seconds

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
CONNECTIONS = 8
WARM_UP = Scenario("warm-up", "send", connections=1, window=1)
WARM_UP_COUNT = 1_000
QUANTILES = ("p50_us", "p99_us", "p999_us", "max_us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=int, default=5_000, help="messages a second to each server")
    parser.add_argument("--alone", action="store_true", help="without the official broker")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    load = Scenario("paced", "paced", connections=CONNECTIONS, window=options.rate)
    count = int(options.minutes * 60 * options.rate)
    with tempfile.TemporaryDirectory(prefix="gantry-stalls-") as name, ExitStack() as stack:
        folder = Path(name)
        program = loadgen.build(folder)
        servers: list[Server] = [stack.enter_context(MeasuredGantry(folder / "gantry", "ASYNC_FLUSH"))]
        join_official(servers, stack, program, folder, "ASYNC_FLUSH", options.alone)

        def one(server: Server) -> dict[str, Any]:
            # The topic is made before: its making waits for the disk once, which is not what a steady run is about.
            loadgen.run(program, server.address, WARM_UP, "Paced", WARM_UP_COUNT)
            before = cpu_seconds(server.pid)
            figures = loadgen.run(program, server.address, load, "Paced", count)
            return {**figures, "server": server.label, "server_cpu_seconds": cpu_seconds(server.pid) - before}

        with ThreadPoolExecutor(len(servers)) as pool:
            rows = list(pool.map(one, servers))
    command = f"python -m benchmarks.stalls --minutes {options.minutes:g} --rate {options.rate}"
    result = {**about(options.alone), "command": command, "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"stalls-{time.strftime('%Y%m%d-%H%M%S')}.json").write_text(json.dumps(result, indent=1))
    text = table(rows)
    print(text)
    if options.write_docs:
        between(PAGE, "stalls", f"`{command}`\n\n{text}")


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line a server, and one of ratios when there are two. Milliseconds."""
    lines = ["| | messages | p50 ms | p99 ms | p99.9 ms | worst ms | server CPU s |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        waits = " | ".join(f"{row[key] / 1000:,.2f}" for key in QUANTILES)
        lines.append(f"| {row['server']} | {row['messages']:,} | {waits} | {row['server_cpu_seconds']:.0f} |")
    if len(rows) == 2:
        ours, theirs = rows
        waits = " | ".join(f"{ours[key] / theirs[key]:.2f}x" for key in QUANTILES)
        lines.append(f"| ratio | | {waits} | {ours['server_cpu_seconds'] / theirs['server_cpu_seconds']:.2f}x |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
