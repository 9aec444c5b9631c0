"""`gantry send TOPIC BODY...`"""

from __future__ import annotations

import json
import sys

import click

from gantry.cli.common import name_servers_option, run


@click.command()
@click.argument("topic")
@click.argument("bodies", nargs=-1, metavar="[BODY]...")
@name_servers_option
@click.option("-t", "--tag", help="Tag of every message.")
@click.option("-k", "--key", "keys", multiple=True, help="Key for searches; may be given several times.")
@click.option("-p", "--property", "properties", multiple=True, metavar="NAME=VALUE", help="A property of your own.")
@click.option("--delay-level", type=click.IntRange(1, 18), help="Deliver later: 1 is 1 s ... 18 is 2 h.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per message instead of text.")
def command(
    topic: str,
    bodies: tuple[str, ...],
    name_servers: str,
    tag: str | None,
    keys: tuple[str, ...],
    properties: tuple[str, ...],
    delay_level: int | None,
    as_json: bool,
) -> None:
    """Send each BODY as one message, in order. Without BODY every line of standard input is a message."""
    from gantry.client import Message, Producer, SendResult

    own = {}
    for text in properties:
        name, separator, value = text.partition("=")
        if not separator:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--property")
        own[name] = value

    def message(body: bytes) -> Message:
        made = Message.of(topic, body, tags=tag, keys=list(keys) or None)
        made.properties.update(own)
        if delay_level:
            made.delay_time_level = delay_level
        return made

    def show(result: SendResult) -> None:
        if as_json:
            fields = {
                "status": result.status.value,
                "messageId": result.message_id,
                "offsetMessageId": result.offset_message_id,
                "topic": result.queue.topic,
                "brokerName": result.queue.broker_name,
                "queueId": result.queue.queue_id,
                "queueOffset": result.queue_offset,
            }
            click.echo(json.dumps(fields))
            return
        queue = result.queue
        click.echo(
            f"{result.status.value}  {queue.topic}  {queue.broker_name} queue {queue.queue_id} "
            f"offset {result.queue_offset}  id {result.message_id}"
        )

    async def main() -> None:
        async with Producer("gantry-send", name_servers=name_servers) as producer:
            if bodies:
                for body in bodies:
                    show(await producer.send(message(body.encode())))
                return
            if sys.stdin.isatty():
                click.echo("Reading messages from the terminal, one per line; Ctrl-D ends.", err=True)
            for line in sys.stdin.buffer:
                if line.rstrip(b"\r\n"):
                    show(await producer.send(message(line.rstrip(b"\r\n"))))

    run(main())
