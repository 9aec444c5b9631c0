"""What is masked in every output before it is compared, and the differences that are allowed: all in this one place.

A mask hides a value that differs from run to run on one and the same broker, and keeps its shape: a number stays a
number, and a word where a number should be still shows. An allowed difference is one between the two brokers that we
keep on purpose; it must occur, or the suite says that it is no longer needed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

Value = Any


@dataclass(frozen=True)
class Mask:
    """Replaces what `pattern` finds in the values at `path` (a regular expression on `/`-joined keys)."""

    command: str
    path: str
    reason: str
    pattern: str = r"-?\d+(?:\.\d+)?"
    mark: str = "<n>"


MASKS = (
    Mask("clusterList", r"rows/\d+/#(InTPS|OutTPS)\(LOAD\)", "rates and waits of this moment"),
    Mask("clusterList", r"rows/\d+/#(Hour|SPACE|PCWait\(ms\))$", "age and disk of this machine"),
    Mask(
        "brokerStatus",
        r"out/.*Tps$",
        "rates over three spans, of which the later come with time",
        pattern=r"^(?:-?\d+(?:\.\d+)?(?: -?\d+(?:\.\d+)?)*)?$",
        mark="<rates>",
    ),
    Mask(
        "brokerStatus",
        r"out/.*(Latency\d+|Time(Max|Mills)|QueueSize|DistributeTime|DiskRatio.*|Ratio|runtime|commitLogDirCapacity"
        r"|remainHowManyData\w+)$",
        "measured, not kept",
        pattern=r"-?\d+(?:\.\d+)?(?: *[KMGT]?i?B\b)?",
    ),
    Mask("brokerStatus", r"out/.*msgGetTotalTodayNow$", "counts the pulls that clients repeat"),
    Mask("topicStatus", r"out/after/Topic Put TPS$", "a rate"),
    Mask("consumerProgress", r"out/after/Consume TPS$|rows/\d+/#TPS$", "a rate"),
    Mask("statsAll", r"rows/\d+/#(InTPS|OutTPS|InMsg24Hour|OutMsg24Hour)$", "sampled every ten seconds"),
    Mask("checkMsgSendRT", r"rows/\d+/#RT$", "a measured time"),
    Mask("checkMsgSendRT", r"rows/\d+/#Broker Name$", "a measured time", pattern=r"(?<=^Avg RT: )\S+"),
    Mask("sendMsgStatus", r"out/\d+$", "a measured time", pattern=r"^rt=\d+ms", mark="rt=<n>ms"),
    Mask(
        "sendMsgStatus",
        r"out/\d+$",
        "the producer begins at a random queue",
        pattern=r"queueId=\d+",
        mark="queueId=<n>",
    ),
    Mask("get*Config", r"/rocketmqHome$", "where this machine keeps it", pattern=r"^.*$", mark="<path>"),
    Mask("get*Config", r"/(ha)?[lL]istenPort$", "a free port of this run"),
    Mask("queryMsgById", r"out/\d+$", "a measured time", pattern=r"spentTimeMills=\d+", mark="spentTimeMills=<n>"),
    Mask("consumerStatus", r"Consumer RT&TPS/\d+$", "rates", pattern=r"(?<= )-?\d+(?:\.\d+)?"),
    Mask("consumerStatus", r"Consumer MQ Detail/\d+$", "moves while the client works", pattern=r"last\w+='?[^,'}]*"),
    Mask("consumerStatus", r"PROP_(CONSUMER_START_TIMESTAMP|THREADPOOL_CORE_SIZE)$", "of the client process"),
)


@dataclass(frozen=True)
class Allowed:
    """A difference we keep.

    `step` is a glob on the name of the step; `path`, `official` and `ours` are regular expressions that cover the whole
    place and the whole JSON of the two values there.
    """

    step: str
    path: str
    reason: str
    official: str = ".*"
    ours: str = ".*"


ALLOWED: tuple[Allowed, ...] = ()


def masked(command: str, value: Value) -> Value:
    """`value` with every mask of `command` applied, and rows without an order put into one."""
    return _in_order(_masked(value, "", [mask for mask in MASKS if fnmatchcase(command, mask.command)]))


def _masked(value: Value, path: str, masks: list[Mask]) -> Value:
    if isinstance(value, dict):
        return {key: _masked(inner, f"{path}/{key}" if path else str(key), masks) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, f"{path}/{index}", masks) for index, inner in enumerate(value)]
    for mask in masks:
        if isinstance(value, str) and re.search(mask.path, path):
            value = re.sub(mask.pattern, mask.mark, value)
    return value


def _in_order(value: Value) -> Value:
    if isinstance(value, list):
        return [_in_order(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        key: sorted(inner, key=lambda row: json.dumps(row, sort_keys=True)) if key == "rows" else _in_order(inner)
        for key, inner in value.items()
    }
