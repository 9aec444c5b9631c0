"""Running the script on one cluster, and its transcript: a value per step in which nothing of that one run is left."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cluster import CLUSTER_NAME, Cluster
from .masks import masked
from .parsing import Value, exceptions
from .script import BROADCAST_GROUP, CLIENTS_GROUP, CLIENTS_MESSAGES, CLIENTS_TOPIC, PRODUCER_GROUP, Section, Step
from .sessions import AdminSession, ConnectedClients, Outcome

SETTLE_S = 30.0
# The official broker cannot delete a topic with its timer wheel off: deleteTopic ends in a NullPointerException (5.5.0).
SETTINGS = {"timerWheelEnable": "true"}
LARGE_BODY = "x" * 140_000
LINE_WIDTH = 240

_MESSAGE_ID = re.compile(r"(?<![0-9A-F])(?:[0-9A-F]{56}|[0-9A-F]{32})(?![0-9A-F])")
_TIME = re.compile(r"\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d(?:,\d{3})?\b")
_EPOCH_MS = re.compile(r"(?<![\d.])(?:1[6-9]|2\d)\d{11}\b")
_ADDRESS = re.compile(r"\b127\.0\.0\.1:\d+")


@dataclass(frozen=True)
class Entry:
    """One step of a transcript: the command as typed, with names for what differs per run, and what came of it."""

    section: str
    step: str
    command: str
    value: dict[str, Value]
    elapsed_s: float = 0.0
    raw: str = ""


class Names:
    """Gives everything that belongs to one cluster or one run a name that is the same on every cluster."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        port = cluster.broker.port
        self._store_host = f"7F000001{port:08X}"
        self._exact = {
            cluster.namesrv.address: "<namesrv>",
            cluster.broker.address: "<broker>",
            f"127.0.0.1:{port - 2}": "<broker vip>",
            f"127.0.0.1:{port + 1}": "<broker ha>",
            str(cluster.broker.folder): "<broker folder>",
            str(cluster.namesrv.folder): "<namesrv folder>",
            str(folder): "<tools folder>",
            LARGE_BODY: "<large body>",
        }

    def learn(self, word: str, value: str) -> None:
        self._exact.setdefault(value, f"<{word}>")

    def applied(self, value: Value) -> Value:
        return self._applied(value, {})

    def _applied(self, value: Value, ids: dict[str, str]) -> Value:
        if isinstance(value, dict):
            return {self._text(key, ids): self._applied(inner, ids) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._applied(inner, ids) for inner in value]
        if isinstance(value, int) and not isinstance(value, bool):
            return "<ms>" if _EPOCH_MS.fullmatch(str(value)) else value
        return self._text(value, ids) if isinstance(value, str) else value

    def _text(self, text: str, ids: dict[str, str]) -> str:
        for exact in sorted(self._exact, key=len, reverse=True):
            text = text.replace(exact, self._exact[exact])
        text = _MESSAGE_ID.sub(lambda match: self._message_id(match[0], ids), text)
        text = _TIME.sub("<time>", text)
        text = _EPOCH_MS.sub("<ms>", text)
        return _ADDRESS.sub("<address>", text)

    def _message_id(self, text: str, ids: dict[str, str]) -> str:
        if text.startswith(self._store_host):
            return f"<offset id {int(text[16:], 16)}>"
        # An id nobody captured: the same one twice in an output is the same name twice.
        return ids.setdefault(text, f"<id {len(ids) + 1}>")


class Run:
    """The script on one cluster."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._names = Names(cluster, folder)
        self._clients: ConnectedClients | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._words = {
            "namesrv": cluster.namesrv.address,
            "broker": cluster.broker.address,
            "broker_name": cluster.broker.name,
            "cluster": CLUSTER_NAME,
            "large_body": LARGE_BODY,
            "group_list_file": str(self._write("groups.json", [{"groupName": "admin_listed", "retryMaxTimes": 3}])),
            "topic_list_file": str(
                self._write(
                    "topics.json",
                    [{"topicName": "AdminListed", "readQueueNums": 2, "writeQueueNums": 2, "perm": 6, "order": False}],
                )
            ),
        }
        self._session = AdminSession(folder / "tools", cluster.namesrv.address)

    def sections(self, sections: Iterable[Section]) -> Iterator[Entry]:
        try:
            for section in sections:
                for step in section.steps:
                    if step.action:
                        self._act(step.action)
                    else:
                        yield self._step(section, step)
        finally:
            self.close()

    def close(self) -> None:
        if self._clients is not None:
            self._clients.close()
            self._clients = None
        self._session.close()

    def _act(self, action: str) -> None:
        if action == "start":
            self._clients = ConnectedClients(
                self._folder / "clients",
                self._cluster.namesrv.address,
                [
                    CLIENTS_TOPIC,
                    self._cluster.broker.name,
                    PRODUCER_GROUP,
                    CLIENTS_GROUP,
                    "TagA || TagB",
                    str(CLIENTS_MESSAGES),
                    BROADCAST_GROUP,
                ],
            )
            self._clients.wait_ready()
        elif self._clients is not None:
            self._clients.close()
            self._clients = None

    def _step(self, section: Section, step: Step) -> Entry:
        arguments = [word.format_map(self._words) for word in shlex.split(_guarded(step.command))]
        run = self._session.run_process if step.process else self._session.run
        began = time.monotonic()
        while True:
            outcome = run(arguments)
            value, settled = self._read(step, outcome)
            if settled or time.monotonic() - began > SETTLE_S:
                break
            time.sleep(0.1)
        command = " ".join(shlex.quote(str(word)) for word in self._names.applied(arguments))
        elapsed_s = time.monotonic() - began
        return Entry(section.name, step.name, command, value, elapsed_s, f"{outcome.out}\n{outcome.err}")

    def _read(self, step: Step, outcome: Outcome) -> tuple[dict[str, Value], bool]:
        out = step.parse(outcome)
        for word, take in step.capture.items():
            self._capture(word, take, out)
        out = self._names.applied(out)
        error = self._names.applied(exceptions(outcome.err))
        # A machine under load may keep an answer longer than the tool waits; that says nothing about the broker.
        settled = _holds(step, out) and not any(_timed_out(each) for each in error)
        value: dict[str, Value] = {"status": outcome.status, "out": out}
        if error:
            value["err"] = error
        return masked(step.name, step.command.partition(" ")[0], value), settled

    def _capture(self, word: str, take: Any, out: Value) -> None:
        try:
            found = str(take(out))
        except (KeyError, IndexError, TypeError):
            # The comparison of this very step will show what came instead.
            found = f"nothing-for-{word}"
        self._words[word] = found
        if word == "first_offset" and len(found) == 32:
            self._words["inside_first"] = f"{found[:16]}{int(found[16:], 16) + 1:016X}"
            self._words["beyond_log"] = f"{found[:16]}{1 << 40:016X}"
        else:
            self._words.setdefault("inside_first", "0" * 32)
            self._words.setdefault("beyond_log", "0" * 32)
        if not word.endswith("_offset"):
            self._names.learn(word, found)
            absent = f"{found[:-4]}FFFE"
            self._words["absent"] = absent
            self._names.learn("absent", absent)

    def _write(self, name: str, content: object) -> Path:
        path = self._folder / name
        path.write_text(json.dumps(content), encoding="utf-8")
        return path


def _guarded(command: str) -> str:
    """Doubles the braces of JSON in a command, so that only {words} are filled in."""
    return re.sub(r"\{(?![a-z_]+\})|(?<![a-z_])\}", lambda match: match[0] * 2, command)


def _timed_out(error: Value) -> bool:
    return isinstance(error, dict) and error["type"] in {"RemotingTimeoutException", "RemotingTooMuchRequestException"}


def _holds(step: Step, value: Value) -> bool:
    if step.until is None:
        return True
    try:
        return step.until(value)
    except (KeyError, IndexError, TypeError, ValueError):
        return False


def dump(entries: Iterable[Entry]) -> str:
    """A transcript as text: a title, the command and the value of each step."""
    parts = []
    for entry in entries:
        value = _pretty(entry.value)
        parts.append(f"== {entry.step}\n$ mqadmin {entry.command}\n{value}\n")
    return "\n".join(parts)


def _pretty(value: Value, indent: str = "") -> str:
    """JSON in which whatever fits stands on one line, so that a table row is a line of a diff."""
    line = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if len(indent) + len(line) <= LINE_WIDTH or not isinstance(value, dict | list) or not value:
        return line
    deeper = indent + " "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_pretty(value[key], deeper)}" for key in sorted(value)]
        return "{\n" + ",\n".join(deeper + part for part in parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + _pretty(inner, deeper) for inner in value) + f"\n{indent}]"


def load(section: str, text: str) -> list[Entry]:
    entries = []
    for part in re.split(r"(?m)^== ", text)[1:]:
        step, command, value = part.split("\n", 2)
        entries.append(Entry(section, step, command.removeprefix("$ mqadmin "), json.loads(value)))
    return entries
