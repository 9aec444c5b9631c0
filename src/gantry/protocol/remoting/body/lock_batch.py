"""Bodies of LOCK_BATCH_MQ and UNLOCK_BATCH_MQ."""

from __future__ import annotations

import msgspec

from gantry.model.message import MessageQueue
from gantry.protocol import json_dialect


class LockBatchBody(msgspec.Struct, rename="camel"):
    """Queues a client wants to own (or gives back), for one group."""

    consumer_group: str = ""
    client_id: str = ""
    only_this_broker: bool = False
    mq_set: list[MessageQueue] = msgspec.field(default_factory=list)


class LockBatchResponseBody(msgspec.Struct, rename={"lock_ok_mq_set": "lockOKMQSet"}):
    """Queues the client owns now."""

    lock_ok_mq_set: list[MessageQueue] = msgspec.field(default_factory=list)


def decode_lock_batch(body: bytes) -> LockBatchBody:
    return json_dialect.decode_request(body, LockBatchBody)


def decode_lock_batch_response(body: bytes) -> LockBatchResponseBody:
    return json_dialect.decode_as(body, LockBatchResponseBody)
