"""What mqadmin prints, read back into values: tables by their titles, key and value lines, JSON, messages, exceptions.

The tool prints with Java's `%-20s` formats, so a table is read with the very format of the command. A cell longer than
its column moves the rest of its line; the reader follows, as a person would.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .sessions import Outcome

Value = Any
Parser = Callable[[Outcome], Value]

_FIELD = re.compile(r"%(-?)(\d*)(?:\.\d+)?[sd]")
_RULE = re.compile(r"^[-=]{20,}$")


class RowFormat:
    """The format of one table row, and how a printed row is cut back into its cells."""

    def __init__(self, text: str) -> None:
        fields = list(_FIELD.finditer(text))
        ends = [match.start() for match in fields[1:]] + [len(text)]
        self._columns = [(int(match[2] or 0), text[match.end() : end]) for match, end in zip(fields, ends, strict=True)]

    def cells(self, line: str) -> list[str]:
        cells = []
        position = 0
        for index, (width, separator) in enumerate(self._columns):
            if index == len(self._columns) - 1:
                cells.append(line[position:].strip())
                break
            end = line.find(separator, position + width)
            # A right-aligned or overlong cell may end later; without its separator it takes the rest.
            end = len(line) if end < 0 else end
            cells.append(line[position:end].strip())
            position = min(len(line), end + len(separator))
        return cells


def titles_of(line: str) -> list[str]:
    return [title.strip() for title in re.findall(r"#[^#]+", line)]


def table(row_format: str, *, ordered: bool = False) -> Parser:
    """A table, and whatever lines follow it.

    Rows that most commands print in the order of a Java hash set come back as "rows", which are sorted once nothing
    of the run is left in them; "ordered rows" stay as they are.
    """
    rows_of = RowFormat(row_format)

    def parse(outcome: Outcome) -> Value:
        lines = outcome.out.splitlines()
        before = []
        while lines and not lines[0].startswith("#"):
            before.append(lines.pop(0))
        if not lines:
            return plain_lines("\n".join(before))
        titles = titles_of(lines.pop(0))
        rows: list[dict[str, str]] = []
        while lines and lines[0].strip() and not _RULE.match(lines[0]):
            cells = rows_of.cells(lines.pop(0))
            if len(cells) == len(titles):
                rows.append(dict(zip(titles, cells, strict=True)))
            else:
                rows.append({"cells": " | ".join(cells)})
        found: dict[str, Value] = {"titles": titles, "ordered rows" if ordered else "rows": rows}
        rest = plain_lines("\n".join(lines))
        if rest:
            found["after"] = rest
        if any(line.strip() for line in before):
            found["before"] = plain_lines("\n".join(before))
        return found

    return parse


def plain_lines(text: str) -> Value:
    """Lines without the empty ones; a dict when every one of them is `key: value`."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not _RULE.match(line)]
    pairs = [re.match(r"^([\w%#/.-]+(?: [\w%#/.-]+){0,3})\s*: ?\s*(.*)$", line) for line in lines]
    if lines and all(pairs) and len({pair[1] for pair in pairs if pair}) == len(lines):
        return {pair[1]: pair[2] for pair in pairs if pair}
    return lines


def lines(outcome: Outcome) -> Value:
    return [line.rstrip() for line in outcome.out.splitlines() if line.strip()]


def name_list(outcome: Outcome) -> Value:
    """One name a line, in the order of a hash set."""
    return sorted(line.strip() for line in outcome.out.splitlines() if line.strip())


def progress_of_groups(outcome: Outcome) -> Value:
    """consumerProgress without a group; the tools' own is left out, its members come and go with every command."""
    found = table("%-64s  %-6s  %-24s %-5s  %-14s  %-7s  %s")(outcome)
    if isinstance(found, dict):
        found["rows"] = [row for row in found["rows"] if row.get("#Group") != "TOOLS_CONSUMER"]
    return found


def producers(outcome: Outcome) -> Value:
    """The producers a broker knows, in no order; those of the tools themselves come and go with every command."""
    return sorted(line.strip() for line in outcome.out.splitlines() if "@connected-" in line)


def key_values(outcome: Outcome) -> Value:
    return plain_lines(outcome.out)


def broker_status(outcome: Outcome) -> Value:
    """`key : value` lines; with a cluster name, each begins with the broker's address."""
    found: dict[str, str] = {}
    for line in outcome.out.splitlines():
        left, colon, value = re.sub(r"^(\d+\.\d+\.\d+\.\d+:\d+)\s+", r"\1 ", line).partition(": ")
        if "commitLogDiskRatio_" in line:
            left, colon, value = line.rpartition(": ")
        if colon:
            found[" ".join(left.split())] = value.strip()
        elif line.strip():
            found[line.strip()] = ""
    return found


def sections(outcome: Outcome) -> Value:
    """`=====title=====` lines, each followed by `key  =  value` lines."""
    found: dict[str, Value] = {}
    here: dict[str, str] | None = None
    loose = []
    for line in outcome.out.splitlines():
        title = re.match(r"^=+([^=].*[^=])=+$", line.strip())
        pair = re.match(r"^(\S+)\s*=  ?(.*)$", line)
        if title:
            here = found.setdefault(title[1].strip(), {})
        elif pair and here is not None:
            here[pair[1]] = pair[2].strip()
        elif line.strip():
            loose.append(line.rstrip())
    return {**found, **({"lines": loose} if loose else {})}


def json_text(outcome: Outcome) -> Value:
    """JSON as the tool prints it: integer keys stand without quotes."""
    text = outcome.out.strip()
    if not text:
        return []
    try:
        return json.loads(re.sub(r"([{,]\s*)(-?\d+)(\s*:)", r'\1"\2"\3', text))
    except json.JSONDecodeError:
        return plain_lines(text)


def titled_json(outcome: Outcome) -> Value:
    """A JSON object under a line that names the broker; the order of its members says nothing."""
    title, _, text = outcome.out.strip().partition("\n")
    try:
        return {"title": title.strip(), "json": json.loads(text)}
    except json.JSONDecodeError:
        return plain_lines(outcome.out)


def properties_text(text: str) -> dict[str, str]:
    """A Java map as its `toString` prints it: `{A=1, B=two words}`."""
    inner = text.strip()[1:-1]
    return dict(part.partition("=")[::2] for part in re.split(r", (?=\w+=)", inner) if part)


_MESSAGE = re.compile(
    r"^MSGID: (?P<id>\S+) MessageExt \[(?P<fields>.*?), toString\(\)=Message\{topic='(?P<topic>.*?)', flag=(?P<flag>-?\d+), "
    r"properties=(?P<properties>\{.*?\}), body=(?P<bytes>\[.*?\]|null), transactionId='(?P<transaction>.*?)'\}\]"
    r"(?: BODY: (?P<body>.*))?$"
)


def _message_line(line: str) -> Value:
    match = _MESSAGE.match(line)
    if match is None:
        return line.rstrip()
    fields = dict(part.partition("=")[::2] for part in match["fields"].split(", "))
    return {
        "id": match["id"],
        "topic": match["topic"],
        "flag": match["flag"],
        **fields,
        "properties": properties_text(match["properties"]),
        "bytes": match["bytes"],
        "transactionId": match["transaction"],
        "body": match["body"],
    }


def messages(outcome: Outcome) -> Value:
    """Printed messages between the lines that tell of queues; the order is that of the command."""
    return [_message_line(line) for line in outcome.out.splitlines() if line.strip() and not _RULE.match(line)]


def exported(outcome: Outcome) -> Value:
    """What was said, and the JSON files that were written."""
    files = {Path(path).name: json_text(Outcome(0, text, "", 0.0)) for path, text in outcome.files.items()}
    return {"lines": lines(outcome), "files": files}


def one_message(outcome: Outcome) -> Value:
    """Messages shown field by field, the body read from the file that the command names, then who consumed them."""
    found: list[dict[str, Value]] = []
    after = []
    for line in outcome.out.splitlines():
        pair = re.match(r"^([A-Z][A-Za-z ]+):\s+(.*)$", line)
        if pair and pair[1] not in {"WARN"}:
            key, value = pair[1], pair[2].strip()
            if not found or key in found[-1]:
                found.append({})
            if key == "Properties":
                found[-1][key] = properties_text(value)
            elif key == "Message Body Path":
                path = Path(value)
                found[-1][key] = value
                found[-1]["body in the file"] = path.read_text("utf-8", "replace") if path.is_file() else None
            else:
                found[-1][key] = value
        elif line.strip():
            after.append(line.strip())
    return {"messages": found, "after": sorted(after)}


def queue_units(outcome: Outcome) -> Value:
    """The answer of queryCq: bounds, then units."""
    found: list[Value] = []
    for line in outcome.out.splitlines():
        unit = re.match(r"^ConsumeQueueData\{(.*)\}$", line)
        if unit:
            found.append(dict(part.partition("=")[::2] for part in unit[1].split(", ")))
        elif line.strip() and not _RULE.match(line):
            found.append(line.strip())
    return found


def running_info(text: str) -> Value:
    """The report on one consumer: sections that begin with `#Title#`."""
    found: dict[str, Value] = {}
    for part in re.split(r"(?m)^(?=#[A-Z][\w& ]+#$)", text):
        head, _, body = part.strip().partition("\n")
        title = head.strip("#")
        if not title:
            continue
        if title == "Consumer jstack":
            found[title] = "threads of the client" if "STATE:" in body else body.strip()
            continue
        rows = [re.sub(r"\s+", " ", line.strip()) for line in body.splitlines() if line.strip()]
        pairs = [re.match(r"^([\w.]+) ?: (.*)$", row) for row in rows]
        if rows and all(pairs):
            # Beside what the protocol names, clients put all their settings there; those are the client's affair.
            found[title] = {pair[1]: pair[2] for pair in pairs if pair and pair[1].startswith("PROP_")}
        else:
            found[title] = rows
    return found


def consumer_status(outcome: Outcome) -> Value:
    if not outcome.out.startswith("#Index"):
        return running_info(outcome.out)
    return {
        "shown": table("%-10d %-40s %-20s %s")(outcome),
        "reports": [running_info(text) for _, text in sorted(outcome.files.items())],
    }


def connections(outcome: Outcome) -> Value:
    """consumerConnection: a table, a second table of subscriptions, key and value lines."""
    first, _, second = outcome.out.partition("\nBelow is subscription:\n")
    if not second:
        return plain_lines(outcome.out)
    return {
        "connections": table("%-36s %-22s %-10s %s")(Outcome(0, first, "", 0.0)),
        "subscriptions": table("%-20s %s")(Outcome(0, second, "", 0.0)),
    }


def exceptions(text: str) -> Value:
    """The chain of exceptions of a Java stack trace, without the frames; other lines as they are."""
    found: list[Value] = []
    for line in text.splitlines():
        if not line.strip() or re.match(r"^\s+(at |\.\.\. \d+ more)", line):
            continue
        head = re.match(
            r"^(?:Exception in thread \"main\" |Caused by: )?((?:[a-z]\w*\.)+[A-Z]\w*(?:Exception|Error))(?:: (.*))?$",
            line,
        )
        if head:
            code = re.match(r"^CODE: (\d+)\s+DESC: (.*)$", head[2] or "")
            entry: dict[str, Value] = {"type": head[1].rpartition(".")[2]}
            if code:
                entry["code"] = int(code[1])
            entry["text"] = code[2] if code else head[2]
            found.append(entry)
        elif not re.match(r"^(For more information, please visit|See https?:)", line):
            found.append(line.strip())
    return found
