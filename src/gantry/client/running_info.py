"""What a consumer tells an operator of its inside (mqadmin consumerStatus)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gantry.model import MessageQueue, SubscriptionData
from gantry.protocol.remoting import CURRENT_VERSION

from .assigned_queue import AssignedQueue


def running_info(
    *,
    assigned: Mapping[MessageQueue, AssignedQueue],
    subscriptions: Sequence[SubscriptionData],
    committed: Callable[[MessageQueue], int | None],
    orderly: bool,
    concurrency: int,
    name_servers: Sequence[str],
    started_ms: int,
    monotonic_ms: int,
) -> dict[str, Any]:
    """The body of a GET_CONSUMER_RUNNING_INFO answer. Source: ConsumerRunningInfo (5.3)."""
    return {
        "mqPopTable": {},
        "mqTable": {queue: _queue_info(state, committed(queue), monotonic_ms) for queue, state in sorted(assigned.items())},
        "properties": {
            "PROP_CLIENT_VERSION": str(CURRENT_VERSION),
            "PROP_CONSUMEORDERLY": "true" if orderly else "false",
            "PROP_CONSUMER_START_TIMESTAMP": str(started_ms),
            "PROP_CONSUME_TYPE": "CONSUME_PASSIVELY",
            "PROP_NAMESERVER_ADDR": ";".join(name_servers),
            "PROP_THREADPOOL_CORE_SIZE": str(concurrency),
        },
        "statusTable": {},
        "subscriptionSet": list(subscriptions),
        "userConsumerInfo": {},
    }


def _queue_info(state: AssignedQueue, committed: int | None, monotonic_ms: int) -> dict[str, Any]:
    table = state.table
    held = table.count > 0
    return {
        "cachedMsgCount": table.count,
        "cachedMsgMaxOffset": table.highest_offset if held else 0,
        "cachedMsgMinOffset": table.lowest_offset if held else 0,
        "cachedMsgSizeInMiB": table.size >> 20,
        "commitOffset": -1 if committed is None else committed,
        "droped": table.dropped,
        "lastConsumeTimestamp": state.last_consume_ms,
        "lastLockTimestamp": 0,
        "lastPullTimestamp": state.last_pull_ms,
        "locked": state.holds_lock(monotonic_ms),
        "transactionMsgCount": table.running_count,
        "transactionMsgMaxOffset": 0,
        "transactionMsgMinOffset": 0,
        "tryUnlockTimes": 0,
    }
