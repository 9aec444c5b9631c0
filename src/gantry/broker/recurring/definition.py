"""What a recurring timer is, and the messages it makes. Pure."""

from __future__ import annotations

import zlib

import msgspec

from gantry.model import Host, StoreMessage, message_const
from gantry.protocol.message.properties import encode_properties
from gantry.protocol.message.unique_id import month_bounds_ms
from gantry.protocol.remoting.body.timers import RecurringTimer

from ..timer.deliver_time import to_timer_topic

ONCE, SKIP = "once", "skip"
EXPIRES_AFTER_MS = 60_000
"""With `skip` a message that could not come within this time after its own does not come any more."""
_DELAY_MS_MAX = 1 << 60
"""A recurring timer may be due in years: timerMaxDelaySec bounds what senders ask for."""


class Definition(msgspec.Struct, rename="camel"):
    """A recurring timer as its file has it. `unique_id` tells it from others of the same name; `deleted`: it is being ended."""

    name: str
    topic: str
    cron: str
    time_zone: str
    missed: str
    queue_id: int
    properties: dict[str, str]
    body: bytes
    created_ms: int
    unique_id: str
    deleted: bool = False

    def told(self, next_ms: int | None) -> RecurringTimer:
        return RecurringTimer(
            name=self.name,
            topic=self.topic,
            queue_id=self.queue_id,
            cron=self.cron,
            time_zone=self.time_zone,
            missed=self.missed,
            properties=self.properties,
            body_size=len(self.body),
            created_ms=self.created_ms,
            next_ms=next_ms,
        )

    def unique_key(self, due_ms: int) -> str:
        """The unique id of the message for a time: always the same, so that the index says whether it is in the log already.

        Laid out as the ids of clients (`UniqueIdMaker`), whose tools read the time out of it; the last two bytes, a counter
        there, are the number of the month.
        """
        made = bytes.fromhex(self.unique_id)
        month_start_ms, _ = month_bounds_ms(due_ms)
        since = (due_ms - month_start_ms) & 0xFFFFFFFF
        month = month_start_ms // 2_332_800_000 & 0xFFFF  # by 27 days: no two months have the same number
        seed = zlib.crc32(made + self.name.encode())
        parts = (made[:-10], seed.to_bytes(4, "big"), since.to_bytes(4, "big"), month.to_bytes(2, "big"))
        return b"".join(parts).hex().upper()

    def message(
        self, due_ms: int, queue_id: int, *, now_ms: int, precision_ms: int, cluster: str, region: str, host: Host
    ) -> StoreMessage:
        """The message for a time: it waits in the timer, or goes to its topic when the time is over."""
        properties = dict(self.properties)
        properties[message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX] = self.unique_key(due_ms)
        properties[message_const.CRON_NAME] = self.name
        properties[message_const.CRON_TIME_MS] = str(due_ms)
        if self.missed == SKIP:
            properties[message_const.CRON_EXPIRES_MS] = str(due_ms + EXPIRES_AFTER_MS)
        properties[message_const.MSG_REGION] = region
        properties[message_const.CLUSTER] = cluster
        properties[message_const.TIMER_DELIVER_MS] = str(due_ms)
        waiting = to_timer_topic(
            properties, self.topic, queue_id, now_ms=now_ms, precision_ms=precision_ms, delay_max_ms=_DELAY_MS_MAX
        )
        topic, queue_id = (waiting.topic, waiting.queue_id) if waiting is not None else (self.topic, queue_id)
        return StoreMessage(
            topic=topic,
            queue_id=queue_id,
            body=self.body,
            properties=encode_properties(properties),
            born_timestamp=now_ms,
            born_host=host,
            store_host=host,
        )
