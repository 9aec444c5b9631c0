"""What a SQL92 filter costs: reading an expression, looking at a message, and a pull through a broker in memory.

python -m benchmarks.filters
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gantry.protocol.filter.sql92 import SqlFilter
from gantry.protocol.message.properties import decode_properties, encode_properties
from tests.unit.broker.broker_rig import BrokerRig, pull_request

ROUNDS = 7
PROPERTIES = {
    "UNIQ_KEY": "AC10000100002A9F4E0E2F2A68AA0001", "TAGS": "drinks", "KEYS": "order-1", "CLUSTER": "DefaultCluster",
    "WAIT": "true", "colour": "red", "size": "6", "price": "12.5", "region": "eu",
}  # fmt: skip
EXPRESSIONS = (
    "size > 5",
    "colour = 'red' AND size BETWEEN 1 AND 10",
    "(size > 7 AND colour = 'x') OR price < 10.5 OR region IN ('eu', 'us')",
    "region CONTAINS 'u' AND NOT (price IS NULL) AND size NOT BETWEEN 10 AND 20 AND colour <> 'blue'",
    " OR ".join(f"size = {number}" for number in range(100, 1100)),
)


def best_us(work: Callable[[], object], count: int) -> float:
    """Microseconds of one call: the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(count):
            work()
        best = min(best, (time.perf_counter() - began) / count)
    return best * 1e6


async def scanned_us(expression: str | None, messages: int = 700) -> float:
    """Microseconds a message of a pull that looks at all of a queue and finds the last one only."""
    async with BrokerRig(enable_property_filter=True) as rig:
        for number in range(messages):
            last = number == messages - 1
            properties = {**PROPERTIES, "TAGS": "wanted" if last else "other", "size": "7" if last else "1"}
            await rig.send("T", b"x" * 128, properties=properties)
        kind = "TAG" if expression is None else "SQL92"
        request = pull_request("T", expression=expression or "wanted", expression_type=kind)
        best = float("inf")
        for _ in range(ROUNDS):
            began = time.perf_counter()
            answer = await rig.ask(request)
            best = min(best, time.perf_counter() - began)
            assert answer.code == 0
        return best / messages * 1e6


def main() -> None:
    encoded = encode_properties(PROPERTIES)
    print(
        f"properties of a message ({len(encoded)} bytes): {best_us(lambda: decode_properties(encoded), 20_000):.2f} us to read"
    )
    print(f"{'expression':74}  {'compile':>9}  {'evaluate':>9}")
    for expression in EXPRESSIONS:
        found = SqlFilter(expression)
        compiling = best_us(lambda expression=expression: SqlFilter(expression), 20)
        evaluating = best_us(lambda found=found: found.matches(PROPERTIES), 10_000 if found.tests < 100 else 200)
        shown = expression if len(expression) < 72 else expression[:69] + "..."
        print(f"{shown:74}  {compiling:6.0f} us  {evaluating:6.2f} us")
    print(f"a pull that finds one message in 700: {asyncio.run(scanned_us(None)):.2f} us a message by tag,")
    print(f"  {asyncio.run(scanned_us('size > 5')):.2f} us by 'size > 5'")


if __name__ == "__main__":
    main()
