"""`gantry demo`: one round trip to look at. `make run` calls it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from gantry.cli.common import body_text, run

if TYPE_CHECKING:
    from gantry.client import MessageExt

TOPIC = "Hello"
TAGS = ("greeting", "news", "question")
WAIT_MS = 20_000


@click.command()
@click.option("--count", default=9, show_default=True, type=click.IntRange(1, 10_000), help="Messages to send.")
def command(count: int) -> None:
    """Start a server in memory, send messages, receive them, show them, and stop.

    Exit status 0 means: every message that was acknowledged was received exactly as it was sent.
    """
    sys.exit(run(demo(count)))


async def demo(count: int) -> int:
    from gantry.cli.embedded import EmbeddedServer, EmbeddedSettings
    from gantry.cli.ephemeral import make_ephemeral_dir, remove_tree
    from gantry.client import ConsumeFromWhere, ConsumerOptions, Message, Producer, PushConsumer
    from gantry.runtime.clock import SystemClock, wait_for
    from gantry.runtime.net import AsyncioNet
    from gantry.runtime.rng import SystemRng
    from gantry.runtime.system_disk import SystemDisk

    disk, clock, rng = SystemDisk(), SystemClock(), SystemRng()
    directory = make_ephemeral_dir(disk, rng)
    settings = EmbeddedSettings(store_dir=directory, namesrv_port=0, broker_port=0)
    server = EmbeddedServer(settings, net=AsyncioNet(), clock=clock, disk=disk, rng=rng)
    sent: dict[str, bytes] = {}
    received: dict[str, MessageExt] = {}
    complete = asyncio.Event()

    async def on_messages(messages: list[MessageExt]) -> None:
        for message in messages:
            received[message.msg_id] = message
        if len(received) >= count:
            complete.set()

    try:
        started_ms = clock.monotonic_ms()
        await server.start()
        for line in server.ready_lines:
            print(line)
        print(f"started in {clock.monotonic_ms() - started_ms} ms")
        try:
            address = server.name_server_address
            async with Producer("demo-producer", name_servers=address) as producer:
                for number in range(1, count + 1):
                    body = f"message {number} of {count}".encode()
                    message = Message.of(TOPIC, body, tags=TAGS[number % len(TAGS)], keys=f"demo-{number}")
                    result = await producer.send(message)
                    sent[result.message_id] = body
            print(f"sent {len(sent)} messages to topic {TOPIC}")
            options = ConsumerOptions(consume_from_where=ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET)
            consumer = PushConsumer("demo-consumer", on_messages, name_servers=address, options=options)
            consumer.subscribe(TOPIC)
            async with consumer:
                try:
                    await wait_for(clock, complete.wait(), WAIT_MS)
                except TimeoutError:
                    print(f"only {len(received)} of {len(sent)} messages came within {WAIT_MS} ms", file=sys.stderr)
        finally:
            await server.stop()
    finally:
        remove_tree(disk, directory)
        disk.close()
    _show(list(received.values()))
    same = {message_id: message.body for message_id, message in received.items()} == sent
    print(f"received {len(received)} messages, {'each as it was sent' if same else 'NOT the same as were sent'}")
    return 0 if same else 1


def _show(messages: list[MessageExt]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("queue", "offset", "tag", "keys", "body", "message id")
    for message in sorted(messages, key=lambda m: (m.broker_name, m.queue_id, m.queue_offset))[:50]:
        where = f"{message.broker_name}/{message.queue_id}"
        table.add_row(
            where, str(message.queue_offset), message.tags, message.keys, body_text(message.body, chars_max=40), message.msg_id
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)
