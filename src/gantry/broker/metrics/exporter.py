"""The Prometheus endpoint of one broker. Loaded only where metricsExporterType asks for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from gantry.runtime.http_server import HttpAnswer, HttpServer

from . import names as n
from .collect import Row, collect
from .counters import Histogram, MetricsCounters
from .names import Spec

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.runtime.net import Net

    from ..config import BrokerConfig
    from ..context import BrokerContext

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 100
"""Rows rendered before others may have their turn; a histogram counts for as many as it has buckets."""

TURN_NS = 1_000_000
"""How long a scrape works before it lets others go on."""


class MetricsExporter:
    """GET /metrics with the official names. start() listens; stop() ends it.

    One page is made at a time: who asks meanwhile gets the same one. Source: BrokerMetricsManager (5.5), PROM.
    """

    def __init__(self, broker: BrokerContext, counters: MetricsCounters, net: Net, clock: Clock) -> None:
        self._broker = broker
        self._counters = counters
        self._clock = clock
        self._server = HttpServer(net, clock, self._answer)
        self._making: asyncio.Task[bytes] | None = None
        self._began_ns = 0
        self._left_out: set[str] = set()
        self.address: tuple[str, int] | None = None
        """Where it listens; known once started."""

    async def start(self) -> None:
        """Raises: ListenError."""
        config = self._broker.config
        host = config.metrics_prom_exporter_host or config.broker_ip1.strip("[]")
        self.address = await self._server.listen(host, config.metrics_prom_exporter_port)
        config.metrics_prom_exporter_port = self.address[1]
        log.info("metrics are at http://%s:%d/metrics", *self.address)

    async def stop(self) -> None:
        await self._server.close()
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)

    async def _answer(self, path: str) -> HttpAnswer:
        if path in ("/metrics", "/metrics/"):
            return HttpAnswer(200, await self.page(), CONTENT_TYPE_LATEST)
        if path == "/-/healthy":
            return HttpAnswer(200, b"Exporter is healthy.\n")
        return HttpAnswer(404, b"metrics are at /metrics\n")

    async def page(self) -> bytes:
        """What /metrics shows now."""
        if self._making is None:
            self._making = asyncio.get_running_loop().create_task(self._make())
        return await asyncio.shield(self._making)

    async def _make(self) -> bytes:
        try:
            self._began_ns = self._clock.monotonic_ns()
            common = common_labels(self._broker.config)
            limit = self._broker.config.metrics_otel_cardinality_limit
            parts: list[bytes] = []
            seen: set[str] = set()
            async for spec, rows in collect(self._broker, self._counters, self._turn):
                left = iter(rows)
                for piece in _pieces(islice(left, limit)):
                    parts.append(render(spec, piece, common, with_head=spec.name not in seen))
                    seen.add(spec.name)
                    await self._turn()
                if spec.name not in self._left_out and next(left, None) is not None:
                    self._left_out.add(spec.name)
                    log.warning(
                        "%s has more than metricsOtelCardinalityLimit=%d series: the rest is left out", spec.name, limit
                    )
            return b"".join(parts)
        finally:
            self._making = None

    async def _turn(self) -> None:
        if self._clock.monotonic_ns() - self._began_ns >= TURN_NS:
            await asyncio.sleep(0)
            self._began_ns = self._clock.monotonic_ns()


def common_labels(config: BrokerConfig) -> dict[str, str]:
    """What every series carries. Pairs of metricsLabel that are none are left out, as in the original."""
    labels: dict[str, str] = {}
    for pair in filter(None, config.metrics_label.split(",")):
        name, colon, value = pair.partition(":")
        if not colon or ":" in value or not name:
            log.warning("metricsLabel is not valid: %s", config.metrics_label)
        else:
            labels[name] = value
    if config.metrics_in_delta:
        labels["aggregation"] = "delta"
    labels.update(node_type="broker", cluster=config.broker_cluster_name, node_id=config.broker_name)
    labels["otel_scope_name"] = n.SCOPE
    return labels


def _pieces(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rows = iter(rows)
    for first in rows:
        per_row = len(first[1].counts) if isinstance(first[1], Histogram) else 1
        yield list(chain([first], islice(rows, ROWS_AT_ONCE // per_row - 1)))


def render(spec: Spec, rows: list[Row], common: dict[str, str], *, with_head: bool) -> bytes:
    """Some rows of a metric as text; the lines that say what it is come with the first of them."""
    names = (*common, *spec.labels)
    values = tuple(common.values())
    kind = {n.GAUGE: GaugeMetricFamily, n.COUNTER: CounterMetricFamily, n.HISTOGRAM: HistogramMetricFamily}[spec.kind]
    family = kind(spec.shown_name, spec.doc, labels=names)
    for labels, value in rows:
        if isinstance(value, Histogram):
            family.add_metric((*values, *labels), _buckets(value), value.sum)
        else:
            family.add_metric((*values, *labels), value)
    text = generate_latest(_Only(family))
    return text if with_head else text.split(b"\n", 2)[2]


def _buckets(histogram: Histogram) -> list[tuple[str, int]]:
    total, buckets = 0, []
    for bound, count in zip([*map(float, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        total += count
        buckets.append((str(bound), total))
    return buckets


class _Only:
    """What generate_latest() asks: a registry with one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric
