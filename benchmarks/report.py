"""Figures as a Markdown table, for the terminal and for docs/performance.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures begin -->", "<!-- figures end -->"


def table(result: dict[str, Any]) -> str:
    """One line a scenario: our figures, the official ones, and the ratios."""
    with_official = any("official" in row["median"] for row in result["rows"])
    lines = [
        f"Gantry {result['gantry']} ({result['core']} core, Python {result['python']})"
        + (f" and the official broker {result['official']}" if with_official else "")
        + f"; {result['machine']}; medians of {result['rounds']} rounds; `{result['command']}`",
        "",
        "| scenario | Gantry msg/s | per CPU-s | p50 / p99 us |"
        + (" official msg/s | per CPU-s | p50 / p99 us | ratio msg/s | ratio per CPU-s |" if with_official else ""),
        "|---|---|---|---|" + ("---|---|---|---|---|" if with_official else ""),
    ]
    for row in result["rows"]:
        ours, theirs = row["median"]["gantry"], row["median"].get("official")
        cells = [row["scenario"], *_cells(ours)]
        if theirs:
            cells += [*_cells(theirs), _ratio(ours, theirs, "per_second"), _ratio(ours, theirs, "per_cpu_second")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(path: Path, result: dict[str, Any]) -> None:
    """Replaces the part between the two marks of the page."""
    text = path.read_text()
    head, rest = text.split(BEGIN, 1)
    _, tail = rest.split(END, 1)
    path.write_text(f"{head}{BEGIN}\n{table(result)}\n{END}{tail}")


def _cells(figures: dict[str, float]) -> list[str]:
    return [
        f"{figures['per_second']:,.0f}",
        f"{figures['per_cpu_second']:,.0f}" if figures["per_cpu_second"] else "-",
        f"{figures['p50_us']:,.0f} / {figures['p99_us']:,.0f}",
    ]


def _ratio(ours: dict[str, float], theirs: dict[str, float], key: str) -> str:
    return f"{ours[key] / theirs[key]:.2f}x" if theirs[key] else "-"
