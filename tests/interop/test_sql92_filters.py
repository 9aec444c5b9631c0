"""SQL92 filters answer as the official classes do: random expressions over random properties, and which ones are refused.

GANTRY_SQL_EXPRESSIONS says how many expressions, each asked of ten messages; GANTRY_SQL_SEED which.
"""

from __future__ import annotations

import base64
import os
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gantry.errors import FilterExpressionError
from gantry.protocol.filter.sql92 import Incomparable, SqlFilter
from gantry.protocol.message.properties import decode_properties, encode_properties
from tests.sql_expressions import Expressions

from . import artifacts
from .cluster import JVM_SMALL

EXPRESSIONS = int(os.environ.get("GANTRY_SQL_EXPRESSIONS", "1500"))
SEED = int(os.environ.get("GANTRY_SQL_SEED", "1"))
MESSAGES = 10
WILD = (0.01, 0.05, 0.3)
"""Shares of odd operands and garbage: with few most expressions are sound, with many most are refused."""

LETTERS = {True: "T", False: "F", None: "N"}


@dataclass
class Case:
    expression: str
    messages: list[bytes]
    """Property strings, as stored."""


def cases() -> Iterator[Case]:
    for wild in WILD:
        made = Expressions(random.Random(f"{SEED}-{wild}"), wild=wild)
        for _ in range(EXPRESSIONS // len(WILD)):
            expression = made.expression()
            yield Case(expression, [encode_properties(made.properties()) for _ in range(MESSAGES)])


def official_answers(asked: list[Case]) -> Iterator[str]:
    """A line per expression and per message, as FilterDriver.java gives them."""
    jars = artifacts.server_jars()
    classes = artifacts.java_classes("filter-driver", sorted((artifacts.HERE / "java" / "filter").glob("*.java")), jars)
    lines = [
        line
        for case in asked
        for line in (_line("E", case.expression.encode()), *(_line("M", message) for message in case.messages))
    ]
    done = subprocess.run(
        [artifacts.find_tool("java"), *JVM_SMALL, "-cp", f"{classes}:{jars}/*", "FilterDriver"],
        input="".join(lines),
        text=True,
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    answers = done.stdout.split("\n")
    assert len(answers) == len(lines) + 1
    return iter(answers)


def _line(kind: str, data: bytes) -> str:
    return f"{kind} {base64.b64encode(data).decode()}\n"


def our_answer(found: SqlFilter, message: bytes) -> str:
    try:
        return LETTERS[found.evaluate(decode_properties(message))]
    except Incomparable:
        return "X"


@pytest.mark.timeout(600)
def test_random_expressions(toolchain: None) -> None:
    asked = list(cases())
    answers = official_answers(asked)
    different: list[str] = []
    counts: Counter[str] = Counter()
    for case in asked:
        verdict = next(answers)
        found: SqlFilter | None = None
        ours = "+"
        try:
            found = SqlFilter(case.expression)
        except FilterExpressionError as error:
            ours = f"- {error}"
        counts["refused" if verdict.startswith("-") else "taken"] += 1
        if ours[0] != verdict[0]:
            different.append(f"{case.expression!r}: official {verdict[:120]}, ours {ours}")
        for message in case.messages:
            official = next(answers)
            if found is None or official == "-":
                continue
            counts[official] += 1
            if our_answer(found, message) != official:
                different.append(f"{case.expression!r} over {decode_properties(message)}: official {official}")
    print(f"{EXPRESSIONS * MESSAGES} pairs: {dict(counts)}")
    assert not different, f"{len(different)} differences, the first: " + "\n".join(different[:10])
    # The comparison says something only when every kind of answer is among the answers.
    assert min(counts[kind] for kind in ("taken", "refused", "T", "F", "N", "X")) > EXPRESSIONS // 10
