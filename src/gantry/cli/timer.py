"""`gantry timer list TOPIC`, `cancel`, `reschedule`; recurring ones: `gantry timer cron create | list | delete`"""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gantry.cli.common import name_servers_option, run

if TYPE_CHECKING:
    from gantry.admin import BrokerChange, BrokerRecurring, BrokerTimer

_AHEAD = re.compile(r"\+(\d+)(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

key_option = click.option("-k", "--key", help="Message key.")
unique_key_option = click.option("-i", "--id", "unique_key", help="Unique id of one message, instead of a key.")
json_option = click.option("--json", "as_json", is_flag=True, help="A JSON object a line instead of text.")
max_option = click.option(
    "--max", "count_max", type=click.IntRange(1, 1000), default=64, show_default=True, help="When more match, nothing is done."
)


@click.group()
def command() -> None:
    """What waits for a delivery time: list it, cancel it, move it; messages by a cron expression."""


@command.command("list")
@click.argument("topic")
@name_servers_option
@key_option
@unique_key_option
@click.option("--from", "begin", metavar="TIME", help="Only what comes at this time or later: +10m, 2026-11-28T10:00, or ms.")
@click.option("--until", "end", metavar="TIME", help="Only what comes before this time.")
@click.option("--max", "count_max", type=click.IntRange(1), default=100, show_default=True, help="Show at most so many.")
@json_option
def list_timers(
    topic: str,
    name_servers: str,
    key: str | None,
    unique_key: str | None,
    begin: str | None,
    end: str | None,
    count_max: int,
    as_json: bool,
) -> None:
    """Show the timers of a topic that wait, in the order of their time."""
    from gantry.admin import AdminClient

    now_ms = int(time.time() * 1000)
    begin_ms = parse_time(begin, now_ms=now_ms, option="--from") if begin is not None else None
    end_ms = parse_time(end, now_ms=now_ms, option="--until") if end is not None else None

    async def main() -> int:
        shown = 0
        async with AdminClient(name_servers=name_servers) as admin:
            if key is not None or unique_key is not None:
                found = await admin.timers.find(topic, key=key, unique_key=unique_key, begin_ms=begin_ms, end_ms=end_ms)
                for each in found[:count_max]:
                    click.echo(timer_json(each) if as_json else timer_text(each))
                return len(found)
            async for each in admin.timers.walk(topic, begin_ms=begin_ms, end_ms=end_ms):
                shown += 1
                if shown > count_max:
                    break
                click.echo(timer_json(each) if as_json else timer_text(each))
        return shown

    count = run(main())
    if count > count_max:
        click.echo("there are more: give --max, --from or --until", err=True)
    elif not count:
        click.echo(f"nothing waits for topic {topic}", err=True)


@command.command()
@click.argument("topic")
@name_servers_option
@key_option
@unique_key_option
@max_option
@json_option
def cancel(topic: str, name_servers: str, key: str | None, unique_key: str | None, count_max: int, as_json: bool) -> None:
    """Cancel all timers of a topic with a message key: they are never delivered."""
    from gantry.admin import AdminClient

    _one_of(key, unique_key)

    async def main() -> list[BrokerChange]:
        async with AdminClient(name_servers=name_servers) as admin:
            return await admin.timers.cancel(topic, key=key, unique_key=unique_key, count_max=count_max)

    _show(run(main()), as_json)


@command.command()
@click.argument("topic")
@name_servers_option
@key_option
@unique_key_option
@click.option("--to", "at", required=True, metavar="TIME", help="+10m from now, 2026-11-28T10:00, or ms since 1970.")
@max_option
@json_option
def reschedule(
    topic: str, name_servers: str, key: str | None, unique_key: str | None, at: str, count_max: int, as_json: bool
) -> None:
    """Let all timers of a topic with a message key come at another time."""
    from gantry.admin import AdminClient

    _one_of(key, unique_key)
    deliver_ms = parse_time(at, now_ms=int(time.time() * 1000), option="--to")

    async def main() -> list[BrokerChange]:
        async with AdminClient(name_servers=name_servers) as admin:
            return await admin.timers.reschedule(topic, deliver_ms, key=key, unique_key=unique_key, count_max=count_max)

    _show(run(main()), as_json)


@command.group()
def cron() -> None:
    """Messages by a cron expression."""


@cron.command()
@click.argument("topic")
@click.argument("name")
@click.argument("expression")
@click.argument("body")
@name_servers_option
@click.option("--zone", "time_zone", default="UTC", show_default=True, help="Time zone of the expression: Europe/Berlin.")
@click.option(
    "--missed",
    type=click.Choice(["once", "skip"]),
    default="once",
    show_default=True,
    help="What comes of the times at which the broker was down: one message for all of them, or none.",
)
@click.option("--tag", help="Tag of the message.")
@click.option("-k", "--key", help="Keys of the message, apart by spaces.")
@click.option("-p", "--property", "properties", multiple=True, metavar="NAME=VALUE", help="A property; may be repeated.")
@click.option("-b", "--broker", "broker_name", help="The broker that is to have it; by default the first of the topic.")
@click.option("--queue", "queue_id", type=int, default=-1, help="Queue of the topic; by default any.")
def create(
    topic: str,
    name: str,
    expression: str,
    body: str,
    name_servers: str,
    time_zone: str,
    missed: str,
    tag: str | None,
    key: str | None,
    properties: tuple[str, ...],
    broker_name: str | None,
    queue_id: int,
) -> None:
    """Send BODY to TOPIC each time that EXPRESSION says.

    \b
    gantry timer cron create Orders morning "0 9 * * MON-FRI" "good morning" --zone Europe/Berlin
    Fields: minute, hour, day of month, month, day of week; seconds may stand before them.
    """  # fmt: skip
    from gantry.admin import AdminClient
    from gantry.model import Message

    message = Message.of(topic, body.encode(), tags=tag, keys=key)
    for each in properties:
        word, sign, value = each.partition("=")
        if not word or not sign:
            raise click.BadParameter(f"{each!r} is not NAME=VALUE", param_hint="--property")
        message.properties[word] = value

    async def main() -> BrokerRecurring:
        async with AdminClient(name_servers=name_servers) as admin:
            return await admin.timers.create_recurring(
                name, message, expression, time_zone=time_zone, missed=missed, broker_name=broker_name, queue_id=queue_id
            )

    click.echo(recurring_text(run(main())))


@cron.command("list")
@click.argument("topic")
@name_servers_option
@json_option
def list_recurring(topic: str, name_servers: str, as_json: bool) -> None:
    """Show the recurring timers of a topic."""
    from gantry.admin import AdminClient

    async def main() -> list[BrokerRecurring]:
        async with AdminClient(name_servers=name_servers) as admin:
            return await admin.timers.list_recurring(topic)

    for each in run(main()):
        told = {"brokerName": each.broker_name, **msgspec.to_builtins(each.timer)}
        click.echo(_json(told) if as_json else recurring_text(each))


@cron.command()
@click.argument("topic")
@click.argument("name")
@name_servers_option
def delete(topic: str, name: str, name_servers: str) -> None:
    """End a recurring timer; its message that waits already is cancelled."""
    from gantry.admin import AdminClient

    async def main() -> None:
        async with AdminClient(name_servers=name_servers) as admin:
            await admin.timers.delete_recurring(topic, name)

    run(main())


def parse_time(text: str, *, now_ms: int, option: str) -> int:
    """Milliseconds since 1970. Raises: click.BadParameter."""
    if text.isdecimal() and len(text) < 18:
        return int(text)
    ahead = _AHEAD.fullmatch(text)
    if ahead is not None and len(ahead[1]) < 16:
        return now_ms + int(ahead[1]) * _UNIT_MS[ahead[2]]
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time: give a time from now such as +10m, a time such as 2026-11-28T10:00, or ms since 1970",
            param_hint=option,
        ) from None


def shown_time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000).isoformat(sep=" ", timespec="milliseconds")


def timer_text(each: BrokerTimer) -> str:
    timer = each.timer
    words = [shown_time(timer.deliver_ms), timer.unique_key, f"{timer.body_size} bytes"]
    words += [f"keys {timer.keys}"] if timer.keys else []
    words += [f"tag {timer.tags}"] if timer.tags else []
    return "  ".join([*words, each.broker_name])


def timer_json(each: BrokerTimer) -> str:
    return _json({"brokerName": each.broker_name, **msgspec.to_builtins(each.timer)})


def change_text(each: BrokerChange) -> str:
    change = each.change
    line = f"{change.outcome}: {change.timer.unique_key} of {shown_time(change.timer.deliver_ms)}"
    if change.outcome == "due":
        return f"{line}: too late, its time is now"
    if change.new_deliver_ms is not None and change.outcome == "rescheduled":
        line += f" comes at {shown_time(change.new_deliver_ms)}"
        if change.new_unique_key != change.timer.unique_key:
            line += f" as {change.new_unique_key}"
    return line


def recurring_text(each: BrokerRecurring) -> str:
    timer = each.timer
    following = f"next {shown_time(timer.next_ms)}" if timer.next_ms is not None else "ended"
    return f"{timer.name}  {timer.cron} ({timer.time_zone})  {following}  missed: {timer.missed}  {each.broker_name}"


def _show(changes: list[BrokerChange], as_json: bool) -> None:
    for each in changes:
        told = {"brokerName": each.broker_name, **msgspec.to_builtins(each.change)}
        click.echo(_json(told) if as_json else change_text(each))


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _one_of(key: str | None, unique_key: str | None) -> None:
    if (key is None) == (unique_key is None):
        raise click.UsageError("give either --key or --id")
