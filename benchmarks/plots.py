"""Curves of a growth run as SVG files, and the table that stands beside them in docs/performance.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TITLES = {
    "topics": "topics of 8 queues (sends, 8 connections, window 64)",
    "connections": "connections (sends, 64 in flight on one, else one on each)",
    "backlog": "messages that lie there unread",
    "start": "MiB of log",
}
COLOURS = {"gantry": "#0b6e4f", "official": "#c8553d"}


def growth(folder: Path, name: str, points: list[dict[str, Any]]) -> str:
    """Draws a curve into `folder` and returns the text for the page."""
    draw(folder / f"growth-{name}.svg", name, points)
    return "\n".join([f"![{TITLES[name]}](images/growth-{name}.svg)", "", *table(name, points)])


def draw(target: Path, name: str, points: list[dict[str, Any]]) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "gantry"  # the same figures give the same file
    import matplotlib.pyplot as plt

    keys = [("seconds", "seconds until it serves")] if name == "start" else [
        ("per_second", "messages a second"), ("per_cpu_second", "messages per CPU-second")
    ]  # fmt: skip
    figure, axes = plt.subplots(1, len(keys), figsize=(4.6 * len(keys), 3.2), squeeze=False)
    for axis, (key, label) in zip(axes[0], keys, strict=True):
        for server, series in dict.fromkeys((point["server"], point["series"]) for point in points):
            chosen = [point for point in points if (point["server"], point["series"]) == (server, series)]
            style = "-o" if series in ("send", "after a clean stop") else "--s"
            places = range(len(chosen)) if name != "start" else [point["at"] for point in chosen]
            axis.plot(places, [point[key] for point in chosen], style, color=COLOURS[server], label=f"{server}, {series}")
        if name != "start":
            ticks = list(dict.fromkeys(point["at"] for point in points))
            axis.set_xticks(range(len(ticks)), [f"{tick:,}" for tick in ticks])
        axis.set_ylim(bottom=0)
        axis.set_xlabel(TITLES[name].split(" (")[0])
        axis.set_ylabel(label)
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def table(name: str, points: list[dict[str, Any]]) -> list[str]:
    if name == "start":
        lines = ["| log MiB | server | start | seconds |", "|---|---|---|---|"]
        return lines + [f"| {p['at']:,.0f} | {p['server']} | {p['series']} | {p['seconds']:.2f} |" for p in points]
    lines = [
        f"| {TITLES[name].split(' (')[0]} | server | what | msg/s | per CPU-s | p50 / p99 us | MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    return lines + [
        f"| {p['at']:,} | {p['server']} | {p['series']} | {p['per_second']:,.0f} | {p['per_cpu_second']:,.0f} | "
        + (f"{p['p50_us']:,.0f} / {p['p99_us']:,.0f}" if p["p50_us"] else "-")
        + f" | {p['mib']:,.0f} |"
        for p in points
    ]
