"""`gantry tail TOPIC`"""

from __future__ import annotations

import asyncio
import json
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from gantry.cli.common import body_text, name_servers_option, run

if TYPE_CHECKING:
    from gantry.client import MessageExt

GROUP = "gantry-tail"
LOOK_AGAIN_MS = 1000


@click.command()
@click.argument("topic")
@name_servers_option
@click.option("-e", "--expression", default="*", show_default=True, help="Tags joined by ||, or * for all.")
@click.option("--from-start", is_flag=True, help="Begin with the oldest message kept, not with the next one.")
@click.option("-c", "--count", type=click.IntRange(1), help="End after this many messages.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per message instead of text.")
def command(topic: str, name_servers: str, expression: str, from_start: bool, count: int | None, as_json: bool) -> None:
    """Show the messages of a topic as they arrive, until Ctrl-C.

    Nobody else's consumption is touched: every tail sees every message and leaves no offset behind. A topic that does not exist
    yet is waited for, and then shown from its first message.
    """
    from gantry.client import ConsumeFromWhere, ConsumerOptions, MessageModel, PushConsumer
    from gantry.client.offset_store import MemoryOffsetStore

    async def main() -> None:
        done = asyncio.Event()
        running = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            running.add_signal_handler(number, done.set)
        shown = 0

        def show(messages: list[MessageExt]) -> None:
            nonlocal shown
            for message in messages:
                if count is not None and shown >= count:
                    return
                click.echo(_json_line(message) if as_json else _text_line(message))
                shown += 1
                if shown == count:
                    done.set()

        first, last = ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET
        exists = from_start or await _topic_exists(name_servers, topic)
        options = ConsumerOptions(
            consume_from_where=first if from_start or not exists else last,
            rebalance_ms=LOOK_AGAIN_MS,
            concurrency=1,
            stop_timeout_ms=1000,
        )
        consumer = PushConsumer(
            GROUP,
            show,
            name_servers=name_servers,
            message_model=MessageModel.BROADCASTING,
            options=options,
            offset_store=MemoryOffsetStore(),
        )
        consumer.subscribe(topic, expression)
        async with consumer:
            if not exists:
                click.echo(f"topic {topic} does not exist yet; waiting for its first message", err=True)
            await done.wait()

    run(main())


async def _topic_exists(name_servers: str, topic: str) -> bool:
    from gantry.client import PullConsumer
    from gantry.errors import NoRoute

    async with PullConsumer(GROUP, name_servers=name_servers) as consumer:
        try:
            await consumer.queues(topic)
        except NoRoute:
            return False
        return True


def _text_line(message: MessageExt) -> str:
    stored = datetime.fromtimestamp(message.store_timestamp / 1000).strftime("%H:%M:%S.%f")[:-3]
    tag = f" [{message.tags}]" if message.tags else ""
    retried = f" (attempt {message.reconsume_times + 1})" if message.reconsume_times else ""
    return f"{stored} {message.broker_name}/{message.queue_id}@{message.queue_offset}{tag}{retried}  {body_text(message.body)}"


def _json_line(message: MessageExt) -> str:
    stored = datetime.fromtimestamp(message.store_timestamp / 1000, UTC).isoformat(timespec="milliseconds")
    return json.dumps(
        {
            "topic": message.topic,
            "brokerName": message.broker_name,
            "queueId": message.queue_id,
            "queueOffset": message.queue_offset,
            "messageId": message.msg_id,
            "stored": stored,
            "tags": message.tags,
            "keys": message.keys,
            "properties": message.properties,
            "body": body_text(message.body),
        },
        ensure_ascii=False,
    )
