"""What is measured: one row a scenario."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run of the load generator.

    Units: body_bytes in bytes, count in messages; `batch` 0 means single messages; `window` is how many requests one
    connection keeps unanswered. A pull scenario reads what its `after` scenario sent.
    """

    name: str
    mode: str
    connections: int = 1
    window: int = 1
    body_bytes: int = 128
    batch: int = 0
    count: int = 10_000
    short_count: int = 2_000
    headers: str = "binary"
    queues: int = 4
    flush: str = "ASYNC_FLUSH"


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("send, window 1, 128 B", "send", count=20_000, short_count=4_000),
    Scenario("send, window 1, 1 KiB", "send", body_bytes=1024, count=20_000, short_count=4_000),
    Scenario("send, window 64, 128 B", "send", window=64, count=200_000, short_count=40_000),
    Scenario("send, window 64, 1 KiB", "send", window=64, body_bytes=1024, count=200_000, short_count=40_000),
    Scenario("send, window 64, 128 B, JSON headers", "send", window=64, count=200_000, short_count=40_000, headers="json"),
    Scenario("send, window 64, 8 connections, 128 B", "send", connections=8, window=64, count=200_000, short_count=40_000),
    Scenario("send, batch of 32, window 8, 128 B", "send", window=8, batch=32, count=640_000, short_count=96_000),
    Scenario("pull", "pull", count=200_000, short_count=40_000),
    Scenario("send to held pull, end to end", "e2e", count=3_000, short_count=500, queues=1),
    Scenario("SYNC_FLUSH send, window 64, 128 B", "send", window=64, count=40_000, short_count=10_000, flush="SYNC_FLUSH"),
)
