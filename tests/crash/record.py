"""What crash tests did, added up over runs: `python -m tests.crash.record [--write-docs]` shows the sums.

With GANTRY_CRASH_RECORD=FILE each crash test that passed appends a line of JSON to that file: kind, flush mode, core, how
often, how many sends were acknowledged, how many of them were lost, seed. `docs/crash-runs.jsonl` is the committed one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.report import between

from gantry import __version__
from gantry._core import ACCEL

DOCS = Path(__file__).resolve().parents[2] / "docs"
RUNS = DOCS / "crash-runs.jsonl"


def record(kind: str, *, flush: str, times: int, acknowledged: int, lost: int, seed: int) -> None:
    """Appends one line when a file is asked for. `lost` counts acknowledged sends: under ASYNC_FLUSH, of the last window."""
    target = os.environ.get("GANTRY_CRASH_RECORD")
    if not target:
        return
    line = {
        "day": time.strftime("%Y-%m-%d"),
        "version": __version__,
        "core": ACCEL,
        "kind": kind,
        "flush": flush,
        "times": times,
        "acknowledged": acknowledged,
        "lost": lost,
        "seed": seed,
    }
    with Path(target).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def table(lines: Iterable[str]) -> str:
    """Markdown: a row for each kind and flush mode, with sums."""
    sums: dict[tuple[str, str], list[int]] = {}
    for text in lines:
        line = json.loads(text)
        found = sums.setdefault((line["kind"], line["flush"]), [0, 0, 0, 0])
        for place, value in enumerate((line["times"], line["acknowledged"], line["lost"], 1)):
            found[place] += value
    rows = ["| | flush | times | sends acknowledged | of these lost | runs |", "|---|---|---|---|---|---|"]
    for (kind, flush), (times, acknowledged, lost, runs) in sorted(sums.items()):
        rows.append(f"| {kind} | `{flush}` | {times:,} | {acknowledged:,} | {lost:,} | {runs} |")
    return "\n".join(rows)


def main() -> None:
    text = table(RUNS.read_text(encoding="utf-8").splitlines())
    print(text)
    if "--write-docs" in sys.argv[1:]:
        between(DOCS / "reliability.md", "crash runs", text)


if __name__ == "__main__":
    main()
