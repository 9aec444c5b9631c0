"""Figures as a Markdown table, for the terminal and for docs/performance.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.scenarios import MEMORY_AIM, MEMORY_MUST, SCENARIOS
from benchmarks.servers import FLOORS


def ratios(row: dict[str, Any], server: str | None = None) -> dict[str, float | None]:
    """Ours, or those of another server, by theirs, for every figure of a row; None where one of them is missing."""
    medians = dict(row["median"])
    theirs = medians.pop("official", None)
    ours = medians[server] if server else next(iter(medians.values()))
    names = {
        "per_second": "per_second",
        "per_cpu_second": "per_cpu_second",
        "p50": "p50_us",
        "p99": "p99_us",
        "p999": "p999_us",
    }
    return {
        name: ours[key] / theirs[key] if theirs and ours.get(key) and theirs.get(key) else None for name, key in names.items()
    }


def floor_ratios(row: dict[str, Any]) -> dict[str, float]:
    """Of each figure the better of both floors, by theirs; empty when no floor was measured."""
    best: dict[str, float] = {}
    for label in FLOORS:
        if label in row["median"]:
            for name, value in ratios(row, label).items():
                if value is not None:
                    choose = max if name.startswith("per_") else min
                    best[name] = choose(best.get(name, value), value)
    return best


def judged(row: dict[str, Any]) -> tuple[str, str]:
    """What is asked of a row, and whether it is reached: "aim", "must", or what is missed."""
    scenario = next((s for s in SCENARIOS if s.name == row["scenario"]), None)
    if scenario is None or scenario.must is None or scenario.aim is None:
        return "", ""
    found = ratios(row)
    if found["per_second"] is None:
        return str(scenario.must), ""
    missed = scenario.must.misses(found)
    if missed:
        floor = floor_ratios(row)
        beyond = scenario.must.misses(dict(floor)) if floor else []
        return str(scenario.must), "missed: " + ", ".join(
            f"{name} (floor {floor[name]:.2f}x)" if name in beyond else name for name in missed
        )
    return str(scenario.must), "must" if scenario.aim.misses(found) else "aim"


def table(result: dict[str, Any]) -> str:
    """One line a scenario: our figures, the official ones, the ratios, and what is asked of them."""
    with_official = any("official" in row["median"] for row in result["rows"])
    lines = [
        f"Gantry {result['gantry']} ({result['core']} core, Python {result['python']})"
        + (f" and the official broker {result['official']}" if with_official else "")
        + f"; {result['machine']}; medians of {result['rounds']} rounds; `{result['command']}`",
        "",
        "| scenario | Gantry msg/s | per CPU-s | p50 / p99 / p99.9 us |"
        + (
            " official msg/s | per CPU-s | p50 / p99 / p99.9 us | msg/s | per CPU-s | p50 | p99.9 | must | reached |"
            if with_official
            else ""
        ),
        "|---|---|---|---|" + ("---|---|---|---|---|---|---|---|---|" if with_official else ""),
    ]
    for row in result["rows"]:
        medians = dict(row["median"])
        theirs = medians.pop("official", None)
        cells = [row["scenario"], *_cells(next(iter(medians.values())))]
        if theirs:
            found = ratios(row)
            cells += [*_cells(theirs), *(_ratio(found[name]) for name in ("per_second", "per_cpu_second", "p50", "p999"))]
            cells += judged(row)
        lines.append("| " + " | ".join(cells) + " |")
    mib = result.get("memory", {}).get("mib", {})
    if mib:
        text = ", ".join(f"{label} {value:.0f} MiB" for label, value in mib.items())
        if "official" in mib:
            text += f": {mib['gantry'] / mib['official']:.2f}x (must {MEMORY_MUST:g}x, aim {MEMORY_AIM:g}x)"
        lines += ["", f"Memory without mapped pages after {result['memory']['messages']:,} messages: {text}."]
    return "\n".join(lines)


def floor_table(result: dict[str, Any]) -> str:
    """What the floor reaches in each scenario, by the official broker: the better of both floors for each figure."""
    lines = ["| scenario | msg/s | per CPU-s | p50 | p99.9 | must |", "|---|---|---|---|---|---|"]
    for row in result["rows"]:
        found = floor_ratios(row)
        if found:
            cells = [_ratio(found.get(name)) for name in ("per_second", "per_cpu_second", "p50", "p999")]
            lines.append("| " + " | ".join([row["scenario"], *cells, judged(row)[0]]) + " |")
    return "\n".join(lines)


def page(path: Path, result: dict[str, Any]) -> None:
    """Puts the tables into the page."""
    between(path, "figures", table(result))
    if any(floor_ratios(row) for row in result["rows"]):
        between(path, "floor", floor_table(result))


def between(path: Path, mark: str, text: str) -> None:
    """Replaces what stands between the two marks of that name in a page."""
    begin, end = f"<!-- {mark} begin -->", f"<!-- {mark} end -->"
    head, rest = path.read_text().split(begin, 1)
    _, tail = rest.split(end, 1)
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}")


def _cells(figures: dict[str, float]) -> list[str]:
    latency = " / ".join(f"{figures[key]:,.0f}" for key in ("p50_us", "p99_us", "p999_us"))
    return [
        f"{figures['per_second']:,.0f}",
        f"{figures['per_cpu_second']:,.0f}" if figures["per_cpu_second"] else "-",
        latency if figures["p50_us"] else "-",
    ]


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"
