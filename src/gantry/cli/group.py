"""`gantry group doctor GROUP`, `gantry group reset GROUP TOPIC`"""

from __future__ import annotations

import json
import re
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING

import click

from gantry.cli.common import name_servers_option, run

if TYPE_CHECKING:
    from gantry.admin import GroupReport, ResetReport

_AGO = re.compile(r"-(\d+)([smhd])")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@click.group()
def command() -> None:
    """Consumer groups."""


@command.command()
@click.argument("group")
@name_servers_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def doctor(group: str, name_servers: str, as_json: bool) -> None:
    """Say what is wrong with a consumer group.

    Members that listen to different things, brokers that do not know a member, members without a queue, messages that wait
    while nobody is connected. The exit status is 1 when something is wrong, so that a script may ask. Works with official
    brokers, too.
    """
    from gantry.admin import AdminClient

    async def main() -> GroupReport:
        async with AdminClient(name_servers=name_servers) as admin:
            return await admin.examine_group(group)

    report = run(main())
    click.echo(_json(report) if as_json else _text(report))
    if not report.healthy:
        sys.exit(1)


@command.command()
@click.argument("group")
@click.argument("topic")
@name_servers_option
@click.option(
    "--to", "place", required=True, metavar="PLACE", help="earliest, latest, -2h, 2026-11-28T10:00, or ms since 1970."
)
@click.option("--preview", is_flag=True, help="Only show what it would mean.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text; needs --preview or --yes.")
def reset(group: str, topic: str, name_servers: str, place: str, preview: bool, yes: bool, as_json: bool) -> None:
    """Move a group to another place of a topic, its members connected or not.

    Shows first, queue by queue, how many messages would be skipped and how many come again.
    """
    from gantry.admin import AdminClient

    timestamp_ms = parse_place(place, now_ms=int(time.time() * 1000))
    if as_json and not (preview or yes):
        raise click.UsageError("--json does not ask: give --preview or --yes")

    async def main(done: bool) -> ResetReport:
        async with AdminClient(name_servers=name_servers) as admin:
            if done:
                return await admin.reset_offset(group, topic, timestamp_ms)
            return await admin.preview_reset(group, topic, timestamp_ms)

    show = _reset_json if as_json else _reset_text
    if preview or not yes:
        click.echo(show(run(main(done=False))))
        if preview or not click.confirm("Move the group?"):
            return
    click.echo(show(run(main(done=True))))


def parse_place(text: str, *, now_ms: int) -> int:
    """Milliseconds since 1970; negative for the end of each queue. Raises: click.BadParameter."""
    from gantry.admin import EARLIEST_MS, LATEST_MS

    if text in ("earliest", "latest"):
        return EARLIEST_MS if text == "earliest" else LATEST_MS
    if text.isdecimal():
        return int(text)
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return max(now_ms - int(ago[1]) * _UNIT_MS[ago[2]], 0)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no place: give earliest, latest, a time ago such as -2h, a time such as 2026-11-28T10:00, or ms "
            "since 1970",
            param_hint="--to",
        ) from None


def _reset_text(report: ResetReport) -> str:
    lines = []
    for move in report.moves:
        begin = "nothing committed" if move.from_offset is None else str(move.from_offset)
        change = f"skips {move.skipped}" if move.skipped else f"repeats {move.repeated}"
        lines.append(f"  {move.queue.broker_name}/{move.queue.queue_id}: {begin} -> {move.to_offset}  {change}")
    moved = "was moved" if report.done else "would be moved"
    head = f"group {report.group} {moved} in topic {report.topic}: {report.skipped} skipped, {report.repeated} repeated"
    return "\n".join([head, *lines])


def _reset_json(report: ResetReport) -> str:
    return json.dumps(
        {
            "group": report.group,
            "topic": report.topic,
            "done": report.done,
            "skipped": report.skipped,
            "repeated": report.repeated,
            "queues": [
                {
                    "brokerName": move.queue.broker_name,
                    "queueId": move.queue.queue_id,
                    "from": move.from_offset,
                    "to": move.to_offset,
                    "skipped": move.skipped,
                    "repeated": move.repeated,
                }
                for move in report.moves
            ],
        }
    )


def _text(report: GroupReport) -> str:
    lines = [f"group {report.group}: {len(report.members)} members, {report.backlog} messages behind"]
    lines += [f"  {member.client_id}  {member.client_addr}  {member.language} {member.version}" for member in report.members]
    for said in report.said:
        topics = ", ".join(f"{topic} {kind} ({expression})" for topic, kind, expression in said.subscriptions)
        lines.append(f"  {len(said.client_ids)} members listen to: {said.message_model} {topics}")
    lines += [f"{finding.severity.value}: {finding.text}" for finding in report.findings]
    if report.healthy:
        lines.append("healthy")
    return "\n".join(lines)


def _json(report: GroupReport) -> str:
    return json.dumps(
        {
            "group": report.group,
            "healthy": report.healthy,
            "backlog": report.backlog,
            "members": [
                {"clientId": m.client_id, "address": m.client_addr, "language": m.language, "version": m.version}
                for m in report.members
            ],
            "listening": [
                {"clientIds": said.client_ids, "messageModel": said.message_model, "subscriptions": said.subscriptions}
                for said in report.said
            ],
            "findings": [{"severity": f.severity.value, "text": f.text} for f in report.findings],
        },
        ensure_ascii=False,
    )
