"""Many timers pending in one broker of ours: what accepting them costs, memory, files, a restart, and questions about them.

    python -m benchmarks.pending_timers [--count TIMERS] [--folder DIRECTORY] [--write-docs]

Bodies of 128 bytes, due evenly over an hour that begins in three. Everything is on a real disk; 10 million need some 12 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import loadgen, machine
from benchmarks.report import between
from benchmarks.run import RESULTS, about
from benchmarks.scenarios import Scenario
from benchmarks.servers import MeasuredGantry, anonymous_kib, cpu_seconds
from gantry.client.doors import Doors
from gantry.protocol import json_dialect
from gantry.protocol.remoting import RemotingCommand, RequestCode
from gantry.protocol.remoting.body.timers import TimersPage
from gantry.protocol.remoting.header.cancel_timers import CancelTimersRequestHeader
from gantry.protocol.remoting.header.list_timers import ListTimersRequestHeader
from gantry.runtime.remoting_client import RemotingClient

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
TOPIC, QUEUES = "Pending", 4
FIRST_MS, SPREAD_MS = 3 * 3_600_000, 3_600_000
UNIQUE_PREFIX = "7F0000010001"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where to put the store; by default the system's temporary directory")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gantry-pending-", dir=options.folder) as name:
        folder = Path(name)
        program = loadgen.compiled(Path(__file__).with_name("delayed.c"), folder)
        sender = loadgen.build(folder)
        with MeasuredGantry(folder / "gantry", "ASYNC_FLUSH") as server:
            loadgen.run(sender, server.address, Scenario("fill", "send", queues=QUEUES), TOPIC, QUEUES, refused_share_max=1)
            figures = fill(program, server, options.count)
            figures["memory_mib"] = anonymous_kib(server.pid) / 1024
            figures.update(asyncio.run(asked(server.address, options.count)))
            server.stop()
            server.start()
            figures["start_after_stop_s"] = server.started_in_s
            figures["memory_after_start_mib"] = anonymous_kib(server.pid) / 1024
            server.kill()
            server.start()
            figures["start_after_kill_s"] = server.started_in_s
            figures["files_mib"] = {
                part: size_mib(server.store / part) for part in ("commitlog", "timerlog", "timerwheel", "index")
            }
    result = {**about(True), "machine": machine.about(), "count": options.count, **figures}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"pending-{time.strftime('%Y%m%d-%H%M%S')}.json").write_text(json.dumps(result, indent=1))
    text = table(result)
    print(text)
    if options.write_docs:
        between(PAGE, "pending timers", text)


def fill(program: Path, server: MeasuredGantry, count: int) -> dict[str, Any]:
    """Sends them and waits until all are in the wheel."""
    host, port = server.address.rsplit(":", 1)
    words = [str(program), host, port, "keep", "4", "64", "128", str(count), TOPIC, str(QUEUES), str(FIRST_MS), str(SPREAD_MS)]
    before = cpu_seconds(server.pid)
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    if figures["messages"] != count:
        raise RuntimeError(f"{figures}")
    asyncio.run(entered(server.address, count))
    return {
        "accepted_per_second": count / figures["send_s"],
        "in_the_wheel_s": time.monotonic() - began,
        "per_cpu_second": count / (cpu_seconds(server.pid) - before),
    }


async def entered(address: str, count: int) -> None:
    doors = Doors.system()
    client = RemotingClient(doors.net, doors.clock)
    try:
        while True:
            answer = await client.invoke(address, RemotingCommand.request(RequestCode.GET_TIMER_METRICS), 10_000)
            counts = json_dialect.decode(answer.body)["timingCount"]
            if counts.get(TOPIC, {}).get("count") == count:
                return
            await asyncio.sleep(0.2)
    finally:
        await client.close()


async def asked(address: str, count: int) -> dict[str, float]:
    """Milliseconds of a page of 100 by time, a search by unique id, and a cancellation, with all of them pending."""
    doors = Doors.system()
    client = RemotingClient(doors.net, doors.clock)

    async def ms(header: Any) -> tuple[float, bytes]:
        began = time.perf_counter()
        answer = await client.invoke(address, RemotingCommand.request(header), 30_000)
        if answer.code:
            raise RuntimeError(f"{type(header).__name__}: {answer.code} {answer.remark}")
        return (time.perf_counter() - began) * 1000, answer.body

    try:
        page_ms, body = await ms(ListTimersRequestHeader(topic=TOPIC, max_num=100))
        page = json_dialect.decode_as(body, TimersPage)
        if len(page.timers) != 100:
            raise RuntimeError(f"a page of {len(page.timers)}")
        found, gone = [], []
        for number in range(20):
            unique_key = f"{UNIQUE_PREFIX}{number * (count // 20):020d}"
            found.append((await ms(ListTimersRequestHeader(topic=TOPIC, unique_key=unique_key)))[0])
            gone.append((await ms(CancelTimersRequestHeader(topic=TOPIC, unique_key=unique_key)))[0])
        return {"page_ms": page_ms, "find_ms": sorted(found)[10], "cancel_ms": sorted(gone)[10]}
    finally:
        await client.close()


def size_mib(path: Path) -> float:
    """What lies on the disk."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_blocks * 512 for each in files) / (1 << 20)


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    files = ", ".join(f"{name} {mib:,.0f}" for name, mib in result["files_mib"].items())
    rows = (
        ("accepted a second", f"{result['accepted_per_second']:,.0f}"),
        ("accepted and entered, a server CPU second", f"{result['per_cpu_second']:,.0f}"),
        ("until all were in the wheel", f"{result['in_the_wheel_s']:,.0f} s"),
        ("process memory without mapped pages", f"{result['memory_mib']:,.0f} MiB"),
        ("the same after a restart", f"{result['memory_after_start_mib']:,.0f} MiB"),
        (
            "start after a clean stop / after kill -9",
            f"{result['start_after_stop_s']:.1f} s / {result['start_after_kill_s']:.1f} s",
        ),
        ("files on the disk, MiB", files),
        ("a page of 100 of the list", f"{result['page_ms']:.0f} ms"),
        ("found / cancelled by unique id", f"{result['find_ms']:.1f} ms / {result['cancel_ms']:.1f} ms"),
    )
    head = f"{result['count']:,} pending timers of 128 B, {result['core']} core, {result['machine']}"
    return "\n".join([head, "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


if __name__ == "__main__":
    main()
