"""How soon `gantry dev` is ready, from the start of the process to its ready line, and what it holds when idle.

    python -m benchmarks.dev_start [--rounds N]

Prints medians; what its own line says is the time from main() on, without the interpreter's start.
"""

from __future__ import annotations

import argparse
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTLE_S = 1.0


def measure() -> tuple[float, float]:
    """Milliseconds to the ready line, MiB resident a second later."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "gantry", "dev", "--namesrv-port", "0", "--broker-port", "0"],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "is ready" in line:
                    break
            else:
                raise SystemExit(f"gantry dev ended with {process.wait()}")
            ready_ms = (time.perf_counter() - began) * 1000
            time.sleep(SETTLE_S)
            found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            assert found is not None
            return ready_ms, int(found.group(1)) / 1024
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    measured = [measure() for _ in range(rounds)]
    ready = sorted(ready_ms for ready_ms, _ in measured)
    print(f"ready after {statistics.median(ready):.0f} ms (median of {rounds}; {ready[0]:.0f} to {ready[-1]:.0f})")
    print(f"idle {statistics.median(rss for _, rss in measured):.1f} MiB resident")


if __name__ == "__main__":
    main()
