"""A send that asks for a delivery time: official checks, codes and remarks, and the handle that recalls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.model import message_const, names
from gantry.protocol.message.properties import PROPERTIES_SIZE_MAX
from gantry.protocol.message.recall_handle import encode_recall_handle
from gantry.protocol.remoting.codes import ResponseCode

from ..timer.deliver_time import TimerIllegal, to_timer_topic
from . import put_answer

if TYPE_CHECKING:
    from ..context import BrokerContext

FIRING_PROPERTIES_MAX = 128
"""What the timer adds to a message's properties when it fires must find room, or the message could never be delivered."""


def place_timed(broker: BrokerContext, properties: dict[str, str], topic: str, queue_id: int) -> tuple[str, int]:
    """Topic and queue in which the message waits; its own when it is due already. Notes the destination in `properties`.

    Raises: BrokerError. Source: HookUtils.handleScheduleMessage, SendMessageProcessor.handlePutMessageResult (5.5).
    """
    config = broker.config
    if not config.timer_wheel_enable:
        raise BrokerError(ResponseCode.SYSTEM_ERROR, "accurate timer message is not enabled, timerWheelEnable is false")
    delay_max_ms = config.timer_max_delay_sec * 1000
    try:
        waiting = to_timer_topic(
            properties,
            topic,
            queue_id,
            now_ms=broker.clock.now_ms(),
            precision_ms=config.timer_precision_ms,
            delay_max_ms=delay_max_ms,
        )
    except TimerIllegal:
        raise BrokerError(
            ResponseCode.MESSAGE_ILLEGAL,
            "timer message illegal, the delay time should not be bigger than the max delay "
            f"{delay_max_ms}ms; or if set del msg, the delay time should be bigger than the current time",
        ) from None
    if waiting is None:
        return topic, queue_id
    congested = broker.timer.book.count_at(waiting.out_ms) - config.timer_congest_num_each_slot
    limit = config.timer_congest_num_each_slot
    # The original means to refuse the more the fuller the slot is, and refuses the less; here it is as meant.
    if congested > 0 and (congested >= limit or broker.rng.randrange(limit) < congested):
        raise BrokerError(
            ResponseCode.SYSTEM_ERROR,
            f"timer message is under flow control, max num limit is {limit * 2} or the current value is greater than {limit} "
            f"and less than {limit * 2}, trigger random flow control",
        )
    return waiting.topic, waiting.queue_id


def check_room(broker: BrokerContext, encoded: bytes) -> None:
    """Raises: BrokerError when the properties leave no room for what firing adds to them."""
    if len(encoded) > PROPERTIES_SIZE_MAX - FIRING_PROPERTIES_MAX:
        raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, put_answer.message_illegal(broker))


def recall_handle(broker: BrokerContext, properties: dict[str, str], unique_key: str) -> str | None:
    """What the answer to a send carries so that the message can be recalled; None for messages that do not wait.

    Source: SendMessageProcessor.attachRecallHandle (5.5).
    """
    out_ms = properties.get(message_const.TIMER_OUT_MS)
    topic = properties.get(message_const.REAL_TOPIC)
    if out_ms is None or topic is None or names.is_retry_topic(topic):
        return None
    return encode_recall_handle(topic, broker.config.broker_name, int(out_ms) + 1, unique_key)
