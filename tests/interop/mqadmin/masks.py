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
from pathlib import Path
from typing import Any

Value = Any


@dataclass(frozen=True)
class Mask:
    """Replaces what `pattern` finds in the values at `path` (a regular expression on `/`-joined keys).

    `command` and `step` are globs: the mqadmin command, and the name of the step of the script.
    """

    command: str
    path: str
    reason: str
    pattern: str = r"-?\d+(?:\.\d+)?"
    mark: str = "<n>"
    step: str = "*"


MASKS = (
    Mask("clusterList", r"rows/\d+/#(InTPS|OutTPS)\(LOAD\)", "rates and waits of this moment"),
    Mask("clusterList", r"rows/\d+/#Timer\(Progress\)$", "how far the timer is behind at this moment"),
    Mask("brokerStatus", r"out/.*timer(ReadBehind|OffsetBehind|CongestNum)$", "the same"),
    Mask("clusterList", r"rows/\d+/#(Hour|SPACE|PCWait\(ms\))$", "age and disk of this machine"),
    Mask(
        "brokerStatus",
        r"out/.*putMessageDistributeTime$",
        "the official broker says null until its first minute is over",
        pattern=r"^(?:null|\[<=0ms\]:\d+ .*)$",
        mark="<distribution>",
    ),
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
    Mask("brokerStatus", r"out/.*timer(Read|Offset)Behind$", "one second behind or none, by chance of the moment"),
    Mask("brokerStatus", r"out/.*msgGetTotalTodayNow$", "counts the pulls that clients repeat"),
    Mask("topicStatus", r"out/after/Topic Put TPS$", "a rate"),
    Mask("consumerProgress", r"out/after/Consume TPS$|rows/\d+/#TPS$", "a rate"),
    Mask(
        "consumerProgress",
        r"Inflight( Total)?$",
        "the place of the last pull, and whether the client pulled again before it left is chance",
        step="consumerProgress after going back",
    ),
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
    Mask(
        "exportMetadata",
        r"/dataVersion/counter$",
        "counts changes, and on the official broker also some that a registration's answer brings",
        pattern=r"^\d+$",
    ),
    Mask("get*Config", r"/rocketmqHome$", "where this machine keeps it", pattern=r"^.*$", mark="<path>"),
    Mask("get*Config", r"/(ha)?[lL]istenPort$", "a free port of this run"),
    Mask("queryMsgById", r"out/\d+$", "a measured time", pattern=r"spentTimeMills=\d+", mark="spentTimeMills=<n>"),
    Mask("consumerStatus", r"Consumer RT&TPS/\d+$", "rates", pattern=r"(?<= )-?\d+(?:\.\d+)?"),
    Mask("consumerStatus", r"Consumer MQ Detail/\d+$", "moves while the client works", pattern=r"last\w+='?[^,'}]*"),
    Mask(
        "consumerStatus",
        r"Consumer (Offset|MQ Detail)/\d+$",
        "a queue nothing came to: -1 until the client has asked for its offset, then 0",
        pattern=r"(?<=commitOffset=)(?:-1|0)\b|(?<= )(?:-1|0)$",
        mark="<none>",
    ),
    Mask(
        "consumerStatus",
        r"Consumer (Offset|MQ Detail)/\d+$",
        "a broadcasting client keeps its offsets in a file and reads them back when it comes to it",
        pattern=r"(?<=commitOffset=)(?:\d+|<none>)|(?<= )(?:\d+|<none>)$",
        step="consumerStatus of a broadcast",
    ),
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


_ABSENT = '"<absent>"'
BROKER_KEYS_NOT_OURS_FILE = Path(__file__).with_name("broker_keys_not_ours.txt")
_BROKER_KEYS_NOT_OURS = BROKER_KEYS_NOT_OURS_FILE.read_text(encoding="utf-8").split()
_NETTY_KEYS = r"(?:server\w+|writeBuffer\w+|useEpollNativeSelector|enableShutdownGracefully|shutdownWaitTimeSeconds)"
_SHOWN_CONFIG = r"out/(?:Master: )?<broker>"

ALLOWED: tuple[Allowed, ...] = (
    Allowed(
        "brokerStatus*",
        r"out/(?:<broker> )?(?:EndTransaction|ack|query|send)ThreadPoolQueueCapacity",
        "There are no pools with queues; shown is the bound that holds here (sendWaitCountMax).",
        official=r'"\d+"',
        ours=r'"\d+"',
    ),
    Allowed(
        "brokerStatus*",
        r"out/(?:<broker> )?commitLogMinOffset",
        "Our log has its first file from the start, the official one makes it with the first message.",
        official='"-1"',
        ours='"0"',
    ),
    Allowed(
        "brokerStatus*",
        r"out/(?:<broker> )?remainHowManyDataToCommit",
        "The official broker leaves it out while its transient pool is off; tools that split it by blanks then fail.",
        official=_ABSENT,
    ),
    Allowed(
        "brokerStatus*",
        r"out/(?:<broker> )?subscriptionConflictGroups",
        "How many groups have members that listen to different things; the official broker does not look.",
        official=_ABSENT,
        ours='"0"',
    ),
    Allowed(
        "getNamesrvConfig*",
        rf"out/<namesrv>/{_NETTY_KEYS}",
        "Settings of Netty and its threads.",
        ours=_ABSENT,
    ),
    Allowed(
        "getNamesrvConfig*",
        r"out/<namesrv>/connections(?:PerAddress)?Max",
        "Settings of ours.",
        official=_ABSENT,
    ),
    Allowed(
        "getBrokerConfig*",
        rf"{_SHOWN_CONFIG}/(?:{'|'.join(_BROKER_KEYS_NOT_OURS)})",
        "Settings of parts that do not exist here (thread pools, Netty, RocksDB, mapped memory) or not yet.",
        ours=_ABSENT,
    ),
    Allowed(
        "getBrokerConfig*",
        rf"{_SHOWN_CONFIG}/(?:rmqAddressServerDomain|rmqAddressServerSubGroup|rebalanceLockMaxLiveTime)",
        "System properties of the official broker (rocketmq.namesrv.domain and the like), settings here.",
        official=_ABSENT,
    ),
    Allowed(
        "getBrokerConfig*",
        rf"{_SHOWN_CONFIG}/haMasterAddress",
        "A Java null is left out, an empty text here is shown.",
        official=_ABSENT,
        ours='""',
    ),
    Allowed(
        "getBrokerConfig*",
        rf"{_SHOWN_CONFIG}/inSyncReplicas",
        "Not set means two copies on a SYNC_MASTER here: one alone would be no promise.",
        official='"1"',
        ours='""',
    ),
    Allowed(
        "get*Config*",
        rf"(?:out/<namesrv>|{_SHOWN_CONFIG})/\w+",
        "Settings of ours. A misspelt official one would be missed above.",
        official=_ABSENT,
    ),
    Allowed(
        "updateTopic with a bad type",
        r"err/1/text",
        "The official broker lists the types in the order of a hash set.",
        official=r'"value is not in set: \[[A-Z, ]+\]"',
        ours=r'"value is not in set: \[UNSPECIFIED, NORMAL, FIFO, DELAY, TRANSACTION, MIXED, PRIORITY, LITE\]"',
    ),
    Allowed(
        "updateSubGroup with a bad attribute",
        r"err/1/text",
        "The official broker tells the class, the file and the line of its exception.",
        official=r'"java\.lang\.RuntimeException: unsupported key: x, org\.apache\..*"',
        ours='"unsupported key: x"',
    ),
    Allowed(
        "resetOffsetByTime of an unknown queue",
        r"err",
        "The official broker keeps an offset for a queue that does not exist; here the operator is told.",
        official=_ABSENT,
        ours=r'.*"code": 29, "text": "queueId\[44\] is illegal, .*',
    ),
    Allowed(
        "updateBrokerConfig of *",
        r"err(?:/1/text)?",
        "Only keys on a list of ours change at run time, with values in their bounds, and the answer says which and why; "
        "the official broker takes any key that is not on its black list and answers success.",
        official=_ABSENT + r'|"Can not update config in black list\. BROKER: <broker>"',
        ours=r".*(?:cannot be changed while the broker runs|maxMessageSize=large is not allowed).*",
    ),
    Allowed(
        "updateBrokerConfig of *",
        r"out/update broker config success, <broker>",
        "As above.",
        ours=_ABSENT,
    ),
    Allowed(
        "updateNamesrvConfig of a forbidden key",
        r"err/1/text",
        "The same, and which key.",
        official=r'"Can not update config in black list\."',
        ours=r'"Can not update config in black list\. .*kvConfigPath"',
    ),
)


def masked(step: str, command: str, value: Value) -> Value:
    """`value` with every mask of the step applied, and rows without an order put into one."""
    masks = [mask for mask in MASKS if fnmatchcase(command, mask.command) and fnmatchcase(step, mask.step)]
    return _in_order(_masked(value, "", masks))


def _masked(value: Value, path: str, masks: list[Mask]) -> Value:
    if isinstance(value, dict):
        return {key: _masked(inner, f"{path}/{key}" if path else str(key), masks) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, f"{path}/{index}", masks) for index, inner in enumerate(value)]
    for mask in masks:
        if isinstance(value, str | int) and not isinstance(value, bool) and re.search(mask.path, path):
            shown = re.sub(mask.pattern, mask.mark, str(value))
            value = value if shown == str(value) else shown
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
