"""`gantry group doctor GROUP`"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from gantry.cli.common import name_servers_option, run

if TYPE_CHECKING:
    from gantry.admin import GroupReport


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
