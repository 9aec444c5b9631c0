"""Gives messages back whose deadline has passed.

Theory. A message that is due is read from its queue and appended to the retry topic of its group and topic, with one more try
counted; beyond the group's limit it goes to the dead letter topic. The append comes first, the note in the ledger after it: a
crash in between gives the message twice, never not at all. The original counts as done once the copy is on the disk.
Source: PopReviveService.reviveRetry (5.3); the dead letter is ours (decision 0016).
"""

from __future__ import annotations

import asyncio
import logging
from itertools import groupby
from typing import TYPE_CHECKING

from gantry.errors import MessageIllegal, StoreError
from gantry.model import StoreMessage, message_const, names, perm_name
from gantry.protocol.message.properties import encode_properties
from gantry.protocol.message.record import RecordView, decode_record, store_again
from gantry.store import GetResult

from ..topic.topic_config_manager import retry_topic_config
from .ledger import Out, PopQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from gantry.runtime.clock import Clock, TimerHandle
    from gantry.store import AppendPlan, MessageStore, PlannedRecord

    from ..config import BrokerConfig
    from ..offset.consumer_offset_manager import ConsumerOffsetManager
    from ..subscription.subscription_group_manager import SubscriptionGroupManager
    from ..topic.topic_config_manager import TopicConfigManager
    from .account import PopAccount

log = logging.getLogger(__name__)

Copy = tuple[Out, RecordView, str]
"""What is out, its record, and the topic its copy goes to."""

AT_ONCE = 512
"""Due messages taken together before others have their turn."""
BYTES_AT_ONCE = 4 * 1024 * 1024
RETRY_MS = 1000
"""When what failed is tried again."""
SETTLE_MS = 500
"""How often copies are looked at that are not on the disk yet."""


class PopReviveService:
    """Sleeps until the next deadline; no message is touched before it. Source: PopReviveService (5.3)."""

    def __init__(
        self,
        config: BrokerConfig,
        clock: Clock,
        store: MessageStore,
        account: PopAccount,
        topics: TopicConfigManager,
        groups: SubscriptionGroupManager,
        offsets: ConsumerOffsetManager,
        *,
        on_stored: Callable[[str, int, int, int, str, str], None],
    ) -> None:
        self._config = config
        self._clock = clock
        self._store = store
        self._account = account
        self._topics = topics
        self._groups = groups
        self._offsets = offsets
        self._on_stored = on_stored
        self._wake: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._sleeps_until: int | None = None
        self.revived_count = 0
        """Messages given back since the start."""
        account.on_deadline = self._deadline_set

    async def start(self) -> None:
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def shutdown(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._account.settle()

    # -- when

    def _deadline_set(self, deadline: int) -> None:
        if self._wake is not None and (self._sleeps_until is None or deadline < self._sleeps_until):
            self._wake.set()

    async def _run(self) -> None:
        assert self._wake is not None
        while True:
            self._wake.clear()
            self._account.settle()
            due = self._account.ledger.take_due(self._account.time.now(), AT_ONCE)
            if due:
                await self._revive(due)
                # A long backlog must not keep the loop from serving others.
                await asyncio.sleep(0)
                continue
            await self._sleep()

    async def _sleep(self) -> None:
        assert self._wake is not None
        ledger = self._account.ledger
        self._sleeps_until = ledger.next_deadline
        delays = [] if self._sleeps_until is None else [max(self._sleeps_until - self._account.time.now(), 0)]
        if ledger.moved_count:
            delays.append(SETTLE_MS)
        timer: TimerHandle | None = self._clock.call_later(min(delays), self._wake.set) if delays else None
        try:
            await self._wake.wait()
        finally:
            self._sleeps_until = None
            if timer is not None:
                timer.cancel()

    # -- what

    async def _revive(self, due: list[Out]) -> None:
        due.sort(key=lambda out: (out.queue.number, out.offset))
        for _, run in groupby(due, key=lambda out: out.queue.number):
            outs = list(run)
            try:
                await self._revive_queue(outs[0].queue, outs)
            except Exception as error:
                if isinstance(error, StoreError):
                    log.error("%d messages of %s wait on for their revival: %s", len(outs), outs[0].queue.key, error)
                else:
                    log.exception("reviving messages of %s failed, it is tried again", outs[0].queue.key)
                later = self._account.time.now() + RETRY_MS
                for out in outs:
                    self._account.ledger.put_off(out, later)

    async def _revive_queue(self, queue: PopQueue, outs: list[Out]) -> None:
        topic, _, queue_id = queue.key
        if not self.knows(queue):
            log.warning("topic or group of %s is gone: %d popped messages are not given back", queue.key, len(outs))
            self._account.done(queue, [out.offset for out in outs])
            return
        records = await self.read(topic, queue_id, outs)
        gone, again = [], []
        for out in outs:
            record = records.get(out.offset)
            # Between the read and here it may have been acknowledged, or got another deadline.
            if self._account.ledger.out(queue, out.offset) != out:
                continue
            if record is None:
                log.error("message %d of %s was deleted before it was acknowledged", out.offset, queue.key)
                gone.append(out.offset)
                continue
            again.append((out, record))
        self._account.done(queue, gone)
        if not again:
            return
        self._append(queue, await self.targets(queue, again))

    def knows(self, queue: PopQueue) -> bool:
        """Topic and group are still there."""
        topic, group, _ = queue.key
        return self._groups.find(group) is not None and self._topics.select(names.normal_topic(topic, group)) is not None

    async def targets(self, queue: PopQueue, again: list[tuple[Out, RecordView]]) -> list[Copy]:
        """With each message the topic it goes to, which is there when this returns. Raises: StoreError."""
        topic, group, _ = queue.key
        retry_topic = topic
        if not names.is_retry_topic(topic):
            build = names.pop_retry_topic_v2 if self._config.enable_retry_topic_v2 else names.pop_retry_topic_v1
            retry_topic = build(topic, group)
        config = self._groups.find(group)
        limit = config.retry_max_times if config is not None else 0
        found = [
            (out, record, names.dlq_topic(group) if record.reconsume_times >= limit else retry_topic) for out, record in again
        ]
        for name in {target for _, _, target in found}:
            if self._topics.select(name) is None:
                await self._topics.create_if_absent(retry_topic_config(name, 1, perm_name.PERM_READ_WRITE))
            if names.is_retry_topic(name) and self._offsets.query(group, name, 0) < 0:
                self._offsets.commit(group, name, 0, 0, "initPopRetryOffset")
        return found

    async def read(self, topic: str, queue_id: int, outs: list[Out]) -> dict[int, RecordView]:
        """The records of due messages, by offset; those the store no longer has are missing. Raises: StoreError."""
        wanted = {out.offset for out in outs}
        found: dict[int, RecordView] = {}
        at, end = outs[0].offset, outs[-1].offset
        while at <= end:
            result = self._store.get(topic, queue_id, at, min(end - at + 1, AT_ONCE), BYTES_AT_ONCE)
            if not isinstance(result, GetResult):
                result = await result
            for view in map(RecordView, result.views):
                if view.queue_offset in wanted:
                    found[view.queue_offset] = view
            following = [out.offset for out in outs if out.offset >= result.next_begin_offset]
            if result.next_begin_offset <= at or not following:
                break
            at = following[0]
        return found

    def _append(self, queue: PopQueue, again: list[Copy]) -> None:
        """Raises: StoreError; nothing was given back then."""
        origin = names.normal_topic(queue.topic, queue.group)
        stored, refused = append_copies(
            self._store,
            self._account,
            queue,
            again,
            new_plan=self._store.new_plan,
            made=lambda out, record, name: revived(record, name, origin, out.pop_time),
        )
        for out, error in refused:
            log.error("message %d of %s cannot be given back and is dropped: %s", out.offset, queue.key, error)
        self._account.done(queue, [out.offset for out, _ in refused])
        self.revived_count += len(stored)
        for _, planned in stored:
            self._on_stored(planned.topic, 0, 1, planned.size, queue.group, origin)


def append_copies(
    store: MessageStore,
    account: PopAccount,
    queue: PopQueue,
    again: list[Copy],
    *,
    new_plan: Callable[[], AppendPlan],
    made: Callable[[Out, RecordView, str], StoreMessage],
) -> tuple[list[tuple[Out, PlannedRecord]], list[tuple[Out, MessageIllegal]]]:
    """Appends a copy of each in one write, and notes where it ends. Whoever was acknowledged or given back is left alone.

    Returns: what was stored, and what no record can be made of. Raises: StoreError; everything is out as before then.
    """
    again = [one for one in again if account.ledger.out(queue, one[0].offset) == one[0]]
    stored: list[tuple[Out, PlannedRecord]] = []
    refused: list[tuple[Out, MessageIllegal]] = []
    if not again:
        return stored, refused
    plan = new_plan()
    try:
        for out, record, target in again:
            message = made(out, record, target)
            try:
                stored.append((out, plan.add(message)))
            except MessageIllegal as error:
                refused.append((out, error))
        store.write(plan)
    except BaseException:
        store.abort(plan)
        raise
    store.commit(plan)
    # Under SYNC_FLUSH this asks for the sync; who waits for it is settle().
    store.durable(plan)
    account.moved([(out, planned.end) for out, planned in stored])
    return stored, refused


def revived(record: RecordView, topic: str, origin_topic: str, pop_time: int) -> StoreMessage:
    """The message as it goes to its retry or dead letter topic: body, properties, flag and born time are kept.

    A dead letter says where it came from, as one that a consumer gave back too often.

    Source: PopReviveService.reviveRetry (5.3).
    """
    message = decode_record(record.buffer, record.start)
    properties = message.properties
    if message.reconsume_times == 0 or message_const.FIRST_POP_TIME not in properties:
        properties[message_const.FIRST_POP_TIME] = str(pop_time)
    if names.is_dlq_topic(topic):
        properties.setdefault(message_const.RETRY_TOPIC, origin_topic)
        properties.setdefault(message_const.ORIGIN_MESSAGE_ID, message.offset_msg_id)
        properties[message_const.DELAY_TIME_LEVEL] = "0"
    again = store_again(message, topic=topic, queue_id=0, properties=encode_properties(properties), wait_store_ok=True)
    return again._replace(born_host=message.store_host, reconsume_times=message.reconsume_times + 1)
