"""One simulated run.

    PYTHONHASHSEED=0 python -m tests.simulation --seed 7 [--minutes 10] [--flush ASYNC_FLUSH] [--trace FILE]

The same seed, minutes and flush mode give the same trace, line by line, and so the same hash.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from .simulation import Simulation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--minutes", type=float, default=10, help="of virtual time under faults")
    parser.add_argument("--flush", default="SYNC_FLUSH", choices=["SYNC_FLUSH", "ASYNC_FLUSH"])
    parser.add_argument("--trace", type=Path, help="write what happened to this file")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        sys.exit("set PYTHONHASHSEED=0: the order of sets must not differ from run to run")
    logging.disable(logging.CRITICAL)
    simulation = Simulation(seed=options.seed, minutes=options.minutes, sync=options.flush == "SYNC_FLUSH")
    try:
        asyncio.run(simulation.run())
    except BaseException:
        print(f"seed {options.seed}: PYTHONHASHSEED=0 python -m tests.simulation --seed {options.seed} "
              f"--minutes {options.minutes:g} --flush {options.flush} --trace trace.txt")  # fmt: skip
        print("\n".join(simulation.trace.lines[-20:]))
        raise
    finally:
        if options.trace is not None:
            options.trace.write_text("\n".join(simulation.trace.lines) + "\n")
    print(f"seed {options.seed}, {options.flush}: {simulation.summary()}; trace {simulation.trace.hash}")


if __name__ == "__main__":
    main()
