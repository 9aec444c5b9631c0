"""Where the recorded bytes of official peers lie, and how their indexes are read."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "vectors" / "golden"
FRAME_SETS = ("json", "rocketmq", "controller")


@cache
def frame_index(name: str) -> tuple[dict[str, Any], ...]:
    """The lines of one frame set's index, in the order the frames passed on the wire."""
    return tuple(json.loads((GOLDEN / "frames" / name / "index.json").read_text()))


def frame_bytes(name: str, line: dict[str, Any]) -> bytes:
    return (GOLDEN / "frames" / name / str(line["file"])).read_bytes()
