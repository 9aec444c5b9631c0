"""What LIST_TIMERS, CANCEL_TIMERS and RESCHEDULE_TIMERS share: their checks, what they match, and how changes are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError, MessageIllegal, StoreError
from gantry.model import StoreMessage, perm_name, topic_validator
from gantry.protocol.remoting.body.timers import PendingTimer
from gantry.protocol.remoting.codes import ResponseCode

from ..timer.pending_timers import Pending, PendingTimers, TooMany
from ..timer.recall_mark import mark_in_slot
from . import put_answer
from .remarks import topic_not_exist

if TYPE_CHECKING:
    from gantry.model import Host

    from ..context import BrokerContext

MATCHES_MAX = 1000
MATCHES_DEFAULT = 64
PLAN_BYTES_MAX = 4 << 20


def check_readable(broker: BrokerContext, topic: str) -> None:
    """Raises: BrokerError where this broker has no timers of the topic to speak of."""
    if not broker.config.timer_wheel_enable:
        raise BrokerError(ResponseCode.SYSTEM_ERROR, "the timer is off, timerWheelEnable is false")
    if topic_validator.is_system_topic(topic):
        raise BrokerError(ResponseCode.NO_PERMISSION, f"the topic[{topic}] is the system's")
    if broker.topics.select(topic) is None:
        raise BrokerError(ResponseCode.TOPIC_NOT_EXIST, topic_not_exist(topic))


def check_changeable(broker: BrokerContext, topic: str) -> None:
    """As for a recall by handle. Raises: BrokerError."""
    config = broker.config
    check_readable(broker, topic)
    if not config.recall_message_enable:
        raise BrokerError(ResponseCode.NO_PERMISSION, "timers are not changed here, recallMessageEnable is false")
    if config.is_slave:
        raise BrokerError(ResponseCode.SLAVE_NOT_AVAILABLE, "timers are changed at the master")
    if not perm_name.is_writeable(config.broker_permission) and not config.allow_recall_when_broker_not_writeable:
        raise BrokerError(ResponseCode.SERVICE_NOT_AVAILABLE, "this broker takes no messages, so no timer can be changed")


def count_of(max_num: int | None) -> int:
    """Raises: BrokerError."""
    if max_num is None:
        return MATCHES_DEFAULT
    if not 0 < max_num <= MATCHES_MAX:
        raise BrokerError(ResponseCode.INVALID_PARAMETER, f"maxNum is {max_num}, it must be 1 to {MATCHES_MAX}")
    return max_num


async def matching(broker: BrokerContext, topic: str, key: str | None, unique_key: str | None) -> list[Pending]:
    """The timers that wait with a message key, or with a unique id. Raises: BrokerError."""
    if not broker.config.message_index_enable:
        raise BrokerError(ResponseCode.SYSTEM_ERROR, "timers are found by key through the index, messageIndexEnable is false")
    if (key is None) == (unique_key is None) or not (key or unique_key):
        raise BrokerError(ResponseCode.INVALID_PARAMETER, "give either a message key or a unique id")
    timers = PendingTimers(broker.store, broker.timer)
    try:
        if key is not None:
            return await timers.by_key(topic, key)
        assert unique_key is not None
        found, _ = await timers.by_unique_key(topic, unique_key)
    except TooMany as error:
        raise BrokerError(ResponseCode.ILLEGAL_OPERATION, str(error)) from None
    return found


async def to_change(
    broker: BrokerContext, topic: str, key: str | None, unique_key: str | None, max_num: int | None
) -> list[Pending]:
    """What a request that changes timers means: at least one, at most as many as it said. Raises: BrokerError."""
    check_changeable(broker, topic)
    count_max = count_of(max_num)
    found = await matching(broker, topic, key, unique_key)
    named = f"the key {key}" if key is not None else f"the unique id {unique_key}"
    if not found:
        raise BrokerError(ResponseCode.QUERY_NOT_FOUND, f"no timer of topic {topic} with {named} waits on this broker")
    if len(found) > count_max:
        raise BrokerError(
            ResponseCode.ILLEGAL_OPERATION,
            f"{len(found)} timers of topic {topic} with {named} wait, at most {count_max} are to be changed: nothing was done",
        )
    return found


def told(pending: Pending) -> PendingTimer:
    return PendingTimer(
        topic=pending.topic,
        queue_id=pending.queue_id,
        unique_key=pending.unique_key,
        keys=pending.keys,
        tags=pending.tags,
        deliver_ms=pending.deliver_ms,
        stored_ms=pending.stored_ms,
        body_size=pending.body_size,
    )


def is_in_time(broker: BrokerContext, pending: Pending) -> bool:
    """A mark stored now is seen before the slot fires. The same bound as for a recall by handle."""
    return pending.out_ms + 1 > broker.clock.now_ms()


def mark_for(broker: BrokerContext, pending: Pending, born_host: Host) -> StoreMessage:
    return mark_in_slot(
        pending.topic,
        pending.unique_key,
        pending.out_ms,
        now_ms=broker.clock.now_ms(),
        with_topic=broker.config.append_topic_for_timer_delete_key,
        born_host=born_host,
        store_host=broker.store_host,
    )


async def store_all(broker: BrokerContext, messages: list[StoreMessage]) -> None:
    """Appends in this order, a crash leaves the first of them; returns when they are as safe as an acknowledged send.

    Raises: BrokerError; nothing was stored then.
    """
    if not messages:
        return
    if broker.replicas.too_few:
        raise BrokerError(ResponseCode.SYSTEM_ERROR, "in-sync replicas not enough")
    store = broker.store
    try:
        plan = store.new_plan()
    except StoreError as error:
        raise BrokerError(ResponseCode.SERVICE_NOT_AVAILABLE, put_answer.service_not_available(broker)) from error
    try:
        for message in messages:
            plan.add(message)
        store.write(plan)
    except MessageIllegal as error:
        store.abort(plan)
        raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, put_answer.message_illegal(broker, error.remark)) from None
    except StoreError as error:
        store.abort(plan)
        raise BrokerError(ResponseCode.SERVICE_NOT_AVAILABLE, put_answer.service_not_available(broker)) from error
    except BaseException:
        store.abort(plan)
        raise
    store.commit(plan)
    waiting = store.durable(plan)
    if waiting is not None and (status := await waiting) not in put_answer.STORED_CODES:
        raise BrokerError(*put_answer.refusal(status, broker))
