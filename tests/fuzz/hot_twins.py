"""Compares the engine's twins on very many frames: `python -m tests.fuzz.hot_twins --frames 10000000 --seed 1`.

Prints how many frames were tried and how many the compiled engine took; a difference ends it with its seed. The pure engine is
compared with itself, too, without the shapes of headers that it learns.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time

from gantry._core import ACCEL
from tests.hot_twins import compare, compare_shapes, compare_transactions

READS = 200
KINDS = (
    {"odd": 0.02},
    {"odd": 0.1},
    {"odd": 0.5},
    {"odd": 0.1, "host": "2001:db8::1"},
    {"odd": 0.05, "mapped_file_size_commit_log": 8192},
    {"odd": 0.1, "broker_ip1": "::1"},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if ACCEL != "c":
        raise SystemExit("the compiled core is not in use: there is nothing to compare")
    logging.disable(logging.CRITICAL)
    tried = taken = alike = 0
    seed, began = options.seed, time.monotonic()
    while tried < options.frames:
        try:
            some, all_of_them = asyncio.run(compare(seed, READS, **KINDS[seed % len(KINDS)]))
            alike += asyncio.run(compare_shapes(seed, READS // 4))[0]
            more, all_more = asyncio.run(compare_transactions(seed, READS // 2, odd=(0.02, 0.1, 0.5)[seed % 3]))
            some, all_of_them = some + more, all_of_them + all_more
        except AssertionError:
            print(f"the twins differ: seed {seed}, {KINDS[seed % len(KINDS)]}")
            raise
        taken, tried, seed = taken + some, tried + all_of_them, seed + 1
    print(f"{tried} frames, {taken} taken by the compiled engine, {alike} laid out by shape, no difference; "
          f"seeds {options.seed} to {seed - 1}, "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
