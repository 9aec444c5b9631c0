"""`gantry inspect FILE`: what is in a store file, without a broker, as a table or as JSON lines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields, is_dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from gantry.cli.common import body_text

if TYPE_CHECKING:
    from gantry.runtime.disk import Disk
    from gantry.store.inspect import LogItem, TimerItem

Row = dict[str, Any]

INFLATED_BYTES_MAX = 64 * 1024 * 1024


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(exists=True))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, everything in it.")
@click.option("--limit", default=50, show_default=True, help="Rows to show; 0 for all. With --json the default is all.")
@click.option("--start", default=0, help="Begin here: a physical offset in a commit log, a queue offset in a queue file.")
@click.option("--hash-slots", type=int, help="maxHashSlotNum of the broker that made an index file, where it is not known.")
@click.option("--body", is_flag=True, help="Show whole bodies.")
@click.pass_context
def command(ctx: click.Context, path: str, as_json: bool, limit: int, start: int, hash_slots: int | None, body: bool) -> None:
    """Show what is in a store file: commit log, consume queue, index, timer log, wheel, checkpoint, or the files of config/.

    Given a store directory it lists the files in it. Nothing is written, and no broker is needed; a running one is not
    disturbed.
    """
    from gantry.errors import MQError
    from gantry.runtime.system_disk import SystemDisk

    if as_json and ctx.get_parameter_source("limit") is click.core.ParameterSource.DEFAULT:
        limit = 0
    disk = SystemDisk()
    try:
        title, rows = read(disk, os.path.abspath(path), start=start, hash_slots=hash_slots, whole_body=body or as_json)
        shown = islice(rows, limit) if limit else rows
        if as_json:
            for row in shown:
                click.echo(json.dumps(row, ensure_ascii=False))
        else:
            _print_table(title, list(shown), more=next(iter(rows), None) is not None)
    except (MQError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        os._exit(0)  # the reader (head, less) has seen enough
    finally:
        disk.close()


def read(disk: Disk, path: str, *, start: int, hash_slots: int | None, whole_body: bool) -> tuple[str, Iterator[Row]]:
    """What kind of file it is, in words, and its rows in file order.

    Raises: ValueError for a file that is no part of a store; DiskError when it cannot be read.
    """
    from gantry.store import inspect

    if disk.is_dir(path):
        return f"store files in {path}", _directory(disk, path)
    kind = inspect.kind_of(path)
    if kind == "commitlog":
        chars_max = 0 if whole_body else 60
        return "commit log", (_log_row(item, chars_max) for item in inspect.iterate_log(disk, path, start=start or None))
    if kind == "consumequeue":
        return "consume queue", (asdict(item) for item in inspect.iterate_queue(disk, path, start=start))
    if kind == "index":
        header = _plain(inspect.read_index_header(disk, path))
        title = "index: " + ", ".join(f"{name}={value}" for name, value in header.items())
        slots = hash_slots or inspect.index_slot_count(disk, path)
        if slots is None:
            raise ValueError(
                f"{path} does not tell its number of hash slots; give --hash-slots (maxHashSlotNum of the broker that made it)"
            )
        return title, (asdict(item) for item in inspect.iterate_index(disk, path, slot_count=slots))
    if kind == "checkpoint":
        return "checkpoint", _pairs(_plain(inspect.read_checkpoint(disk, path)))
    if kind == "syncedOffset":
        state = inspect.read_synced_state(disk, path)
        if state is None:
            raise ValueError(f"{path} cannot be read as a synced-offset file")
        return "synced offset", _pairs(_plain(state))
    if kind == "timerlog":
        return "timer log", (_timer_row(item) for item in inspect.iterate_timer_log(disk, path, start=start))
    if kind == "timerwheel":
        return "time wheel, slots that were used", (
            {"index": index, **slot._asdict()} for index, slot in inspect.iterate_wheel(disk, path)
        )
    if kind == "timercheck":
        from gantry.protocol.disk.timer_checkpoint_layout import decode_timer_checkpoint

        check = decode_timer_checkpoint(disk.read_file(path))
        if check is None:
            raise ValueError(f"{path} is too short for a timer checkpoint")
        return "timer checkpoint", _pairs(_plain(check))
    if kind in ("abort", "lock"):
        meaning = {
            "abort": "a broker is running on this store, or did not stop cleanly",
            "lock": "held by the broker that runs on this store",
        }
        return kind, iter([{"file": path, "bytes": disk.size(path), "meaning": meaning[kind]}])
    if kind == "metadata" or path.endswith((".json", ".json.bak")):
        return "metadata", _json_rows(disk.read_file(path))
    raise ValueError(
        f"{path} is no file of a message store: expected commitlog/<20 digits>, consumequeue/<topic>/<queue>/<20 digits>, "
        f"index/<17 digits>, timerlog/<20 digits>, timerwheel, checkpoint, or a file of config/"
    )


def _log_row(item: LogItem, chars_max: int) -> Row:
    row: Row = {"physical_offset": item.physical_offset, "size": item.size}
    record = item.record
    if record is not None:
        from gantry.protocol.message.properties import decode_properties

        row |= {
            "topic": record.topic,
            "queue_id": record.queue_id,
            "queue_offset": record.queue_offset,
            "stored": _time(record.store_timestamp),
            "sys_flag": record.sys_flag,
            "reconsume_times": record.reconsume_times,
            "properties": decode_properties(record.properties),
            "body": body_text(_readable(bytes(record.body), record.sys_flag), chars_max=chars_max),
        }
    if item.blank:
        row["body"] = "(blank: the rest of the file is unused)"
    if item.problem:
        row["problem"] = item.problem
    return row


def _timer_row(item: TimerItem) -> Row:
    unit = item.unit
    kinds = [name for name, wanted in (("rolls", unit.rolls), ("recalls", unit.recalls)) if wanted]
    row: Row = {"position": item.position, "slot": _time(item.due_ms) if not item.problem else "", "kind": " ".join(kinds)}
    row |= {
        "previous_position": unit.previous_position,
        "physical_offset": unit.physical_offset,
        "size": unit.record_size,
        "topic_hash": unit.topic_hash,
    }
    if item.problem:
        row["problem"] = item.problem
    return row


def _readable(body: bytes, flags: int) -> bytes:
    """The body as its producer handed it in; one that cannot be decompressed as it is stored."""
    from gantry.errors import RemoteProtocolError
    from gantry.model import sys_flag
    from gantry.protocol.message.compression import decompress

    if not flags & sys_flag.COMPRESSED:
        return body
    try:
        return decompress(body, flags, size_max=INFLATED_BYTES_MAX)
    except RemoteProtocolError:
        return body


def _directory(disk: Disk, path: str) -> Iterator[Row]:
    from gantry.store.inspect import kind_of

    for name in sorted(disk.list_dir(path)):
        child = f"{path}/{name}"
        if disk.is_dir(child):
            yield from _directory(disk, child)
        else:
            yield {"file": child, "kind": kind_of(child) or "", "bytes": disk.size(child)}


def _json_rows(data: bytes) -> Iterator[Row]:
    """A file of config/, one row per entry of its tables."""
    from gantry.protocol import json_dialect

    for name, value in json_dialect.decode(data).items():
        if not isinstance(value, dict):
            yield {"table": name, "key": "", "value": value}
            continue
        for key, entry in value.items():
            yield {"table": name, "key": str(key), "value": entry}


def _pairs(values: Row) -> Iterator[Row]:
    for name, value in values.items():
        row = {"field": name, "value": value}
        if name.endswith("timestamp") and isinstance(value, int) and value > 0:
            row["time"] = _time(value)
        yield row


def _plain(value: Any) -> Row:
    """Fields of a dataclass, a named tuple or a Struct, whichever the codec uses."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(value, "_asdict"):
        return dict(value._asdict())
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000).isoformat(sep=" ", timespec="milliseconds")


def _print_table(title: str, rows: Iterable[Row], *, more: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(title=escape(title), title_justify="left")
    for name in columns:
        numeric = all(isinstance(row.get(name, 0), int) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(row.get(name))) for name in columns))
    console = Console(width=None if sys.stdout.isatty() else 180)
    console.print(table if rows else f"{escape(title)}: nothing in it")
    if more:
        console.print(f"[dim]the first {len(rows)} rows; --limit 0 shows all[/dim]")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return " ".join(f"{name}={body_text(str(item).encode())}" for name, item in value.items())
    return body_text(str(value).encode())
