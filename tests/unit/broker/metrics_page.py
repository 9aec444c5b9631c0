"""A page of metrics as a table."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
COMMON = {"cluster", "node_type", "node_id", "otel_scope_name", "otel_scope_version", "otel_scope_schema_url"}


class MetricsPage:
    """`types` by metric; `samples` by name and labels, those left out that all have."""

    def __init__(self, text: str) -> None:
        self.types: dict[str, str] = {}
        self.samples: dict[str, dict[Labels, float]] = {}
        self.common: dict[str, set[str]] = {}
        for family in text_string_to_metric_families(text):
            assert family.name not in self.types, f"{family.name} is told twice"
            self.types[family.name] = family.type
            for sample in family.samples:
                labels = frozenset((name, value) for name, value in sample.labels.items() if name not in COMMON)
                table = self.samples.setdefault(sample.name, {})
                assert labels not in table, f"{sample.name} {sorted(labels)} is told twice"
                table[labels] = sample.value
                for name in COMMON & sample.labels.keys():
                    self.common.setdefault(name, set()).add(sample.labels[name])

    def value(self, name: str, **labels: Any) -> float | None:
        """The sample with exactly these labels; None when there is none."""
        return self.samples.get(name, {}).get(frozenset((key, str(value)) for key, value in labels.items()))

    def sum(self, name: str, **labels: Any) -> float:
        """Of all samples that have these labels, and perhaps others."""
        wanted = {(key, str(value)) for key, value in labels.items()}
        return sum(value for found, value in self.samples.get(name, {}).items() if wanted <= found)
