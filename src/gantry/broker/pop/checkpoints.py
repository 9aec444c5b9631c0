"""What the original keeps of popped messages, read once when a store of its making is opened.

Theory. For each pop of a queue the original stores a checkpoint, for each acknowledgement a message that names it, both in
the revive topic of the cluster; until shortly before the deadline they wait as timer messages. A message is out when a
checkpoint names it and no acknowledgement does, in whatever order they come. What its revive group has committed is done
with. Reading more than is needed only delivers again.

Shape of the bodies, JSON: checkpoint (tag `ck`) t topic, c group, q queue, so start offset, d distances of the offsets to it,
n count (without d: so, so+1, ...), bm bits of those acknowledged before, pt pop time, it invisible time, bn broker;
acknowledgement (`ack`) ao offset, (`bAck`) aol offsets, with t, c, q, so, pt, bn of its checkpoint.
Source: PopCheckPoint, AckMsg, BatchAckMsg, PopReviveService.consumeReviveMessage (5.3).
"""

from __future__ import annotations

import logging
import struct
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

import msgspec

from gantry.errors import DiskFault, ProtocolError
from gantry.model import MessageExt, message_const, topic_validator
from gantry.protocol import json_dialect
from gantry.protocol.message.record import decode_record
from gantry.store import GetResult

from .ledger import QueueKey

if TYPE_CHECKING:
    from gantry.runtime.disk import Disk
    from gantry.store import MessageStore

log = logging.getLogger(__name__)

REVIVE_GROUP = "CID_RMQ_SYS_REVIVE_GROUP"
CHECKPOINT, ACK, BATCH_ACK = "ck", "ack", "bAck"
READ_AT_ONCE = 256
TIMER_SLACK_MS = 3000
"""Timer messages that came out so shortly before the stop may not be in the revive topic yet."""

Pending = dict[QueueKey, dict[int, tuple[int, int]]]
"""Queue -> offset -> pop time and deadline, wall clock ms."""


class _Body(msgspec.Struct):
    t: str = ""
    c: str = ""
    q: int = 0
    so: int = 0
    pt: int = 0
    it: int = 0
    n: int = 0
    bm: int = 0
    d: list[int] | None = None
    ao: int = -1
    aol: list[int] | None = None
    bn: str | None = None


def pending_of(messages: Iterable[tuple[str, bytes]], broker_name: str) -> Pending:
    """The messages that are out, from the tags and bodies of a revive topic. What cannot be read is told and left out."""
    checkpoints: dict[tuple[str, str, int, int, int], _Body] = {}
    acknowledged: dict[tuple[str, str, int, int, int], set[int]] = {}
    for tag, data in messages:
        try:
            body = json_dialect.convert(json_dialect.decode(data), _Body)
        except ProtocolError as error:
            log.error("a record of the revive topic is left out: %s", error)
            continue
        if body.bn not in (None, "", broker_name):
            continue
        key = body.t, body.c, body.q, body.so, body.pt
        if tag == CHECKPOINT:
            checkpoints[key] = body
        elif tag == ACK:
            acknowledged.setdefault(key, set()).add(body.ao)
        elif tag == BATCH_ACK:
            acknowledged.setdefault(key, set()).update(body.aol or ())
    pending: Pending = {}
    for key, body in checkpoints.items():
        done = acknowledged.get(key, set())
        distances = body.d or range(body.n)
        for index, distance in enumerate(distances):
            offset = body.so + distance
            if body.bm >> index & 1 or offset in done:
                continue
            queue = pending.setdefault((body.t, body.c, body.q), {})
            # A changed invisible time is a later checkpoint of the same message.
            if offset not in queue or queue[offset][0] < body.pt:
                queue[offset] = body.pt, body.pt + body.it
    return pending


async def read_checkpoints(
    store: MessageStore, disk: Disk, *, cluster: str, committed: dict[int, int], timer_check_path: str
) -> list[tuple[str, bytes]]:
    """Tags and bodies of the revive topic beyond what its group has committed, and of timer messages bound for it.

    `committed`: queue id of the revive topic -> offset of the last record that is done with. Raises: StoreError.
    """
    topic = topic_validator.REVIVE_TOPIC_PREFIX + cluster
    found = []
    for queue_id in store.queue_ids(topic):
        async for message in _messages(store, topic, queue_id, committed.get(queue_id, -1) + 1):
            found.append((message.properties.get(message_const.TAGS, ""), message.body))
    read_up_to = await disk.run(_timer_read_up_to, disk, timer_check_path)
    for queue_id in store.queue_ids(topic_validator.TIMER_TOPIC):
        async for message in _messages(store, topic_validator.TIMER_TOPIC, queue_id, 0):
            properties = message.properties
            due = properties.get(message_const.TIMER_OUT_MS, "")
            if properties.get(message_const.REAL_TOPIC) == topic and not (
                due.isdigit() and int(due) < read_up_to - TIMER_SLACK_MS
            ):
                found.append((properties.get(message_const.TAGS, ""), message.body))
    return found


async def _messages(store: MessageStore, topic: str, queue_id: int, offset: int) -> AsyncIterator[MessageExt]:
    offset = max(offset, await store.first_offset(topic, queue_id))
    while offset < store.max_offset(topic, queue_id):
        result = store.get(topic, queue_id, offset, READ_AT_ONCE, 4 << 20)
        if not isinstance(result, GetResult):
            result = await result
        for record in result.views:
            yield decode_record(record)
        if result.next_begin_offset <= offset:
            return
        offset = result.next_begin_offset


def _timer_read_up_to(disk: Disk, path: str) -> int:
    """Wall clock ms up to which the original has taken timer messages out; 0 when it never did."""
    try:
        (read_up_to,) = struct.unpack_from(">q", disk.read_file(path))
    except (DiskFault, struct.error):
        return 0
    return int(read_up_to)
