"""Two transcripts side by side."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .masks import ALLOWED, Allowed
from .parsing import Value

ABSENT = "<absent>"


@dataclass(frozen=True)
class Difference:
    """The values of the official cluster and of ours at one place of a step's outcome."""

    path: str
    official: Value
    ours: Value

    def __str__(self) -> str:
        return f"{self.path}\n    official: {_text(self.official)}\n    ours:     {_text(self.ours)}"


def differences(official: Value, ours: Value, path: str = "") -> Iterator[Difference]:
    """Every place at which two values differ; a row or line that only one has is a difference of its own."""
    if isinstance(official, dict) and isinstance(ours, dict):
        for key in sorted({*official, *ours}):
            below = f"{path}/{key}" if path else key
            if key not in ours:
                yield Difference(below, official[key], ABSENT)
            elif key not in official:
                yield Difference(below, ABSENT, ours[key])
            else:
                yield from differences(official[key], ours[key], below)
    elif isinstance(official, list) and isinstance(ours, list):
        if len(official) == len(ours) and not path.endswith("/rows"):
            for index, (theirs, own) in enumerate(zip(official, ours, strict=True)):
                yield from differences(theirs, own, f"{path}/{index}")
        else:
            yield from _as_sets(official, ours, path)
    elif official != ours:
        yield Difference(path, official, ours)


def _as_sets(official: list[Value], ours: list[Value], path: str) -> Iterator[Difference]:
    theirs, own = Counter(map(_text, official)), Counter(map(_text, ours))
    missing, extra = list((theirs - own).elements()), list((own - theirs).elements())
    for text in missing:
        row = json.loads(text)
        # The same row with one cell changed reads better as that cell.
        twin = next((other for other in extra if _name(json.loads(other)) == _name(row)), None)
        if twin is None:
            yield Difference(f"{path}/{_name(row)}", row, ABSENT)
        else:
            extra.remove(twin)
            yield from differences(row, json.loads(twin), f"{path}/{_name(row)}")
    for text in extra:
        row = json.loads(text)
        yield Difference(f"{path}/{_name(row)}", ABSENT, row)


_NAMING = ("#Topic", "#Group", "#Consumer Group", "#Broker Name", "#QID", "#ClientId", "#brokerName", "#queueId")


def _name(row: Value) -> str:
    if isinstance(row, dict):
        return " ".join(str(row[title]) for title in _NAMING if row.get(title))
    return str(row)


def _text(value: Value) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def allowed_by(step: str, difference: Difference) -> Allowed | None:
    """The entry of the list of allowed differences that covers this one."""
    for allowed in ALLOWED:
        if (
            fnmatchcase(step, allowed.step)
            and re.fullmatch(allowed.path, difference.path)
            and re.fullmatch(allowed.official, _text(difference.official))
            and re.fullmatch(allowed.ours, _text(difference.ours))
        ):
            return allowed
    return None
