"""Delayed sends on the short way: where a message waits, and its properties as they are stored. Both twins ask here.

What `processor.send_message` does for a common send with a delay level or a time; anything else about it, and every refusal,
is left to the long way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gantry.errors import BrokerError, LocalProtocolError, RemoteProtocolError
from gantry.model import message_const, topic_validator
from gantry.protocol.message.properties import decode_properties, encode_properties

from ..processor import timed_send
from ..schedule.delay_level import to_schedule_topic
from ..timer.deliver_time import forget_time, is_timed
from ._plan_py import ASK_FOR_MORE

if TYPE_CHECKING:
    from ..context import BrokerContext

_UNIQ = message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX
_UNIQ_PAIR = f"\x02{_UNIQ}\x01".encode()
_LEVEL_DIGITS_MAX = 4
_LEFT_ALONE = ASK_FOR_MORE | {message_const.TRANSACTION_PREPARED, message_const.TIMER_OUT_MS}


class Placed(NamedTuple):
    """Where it waits, its stored properties, where in them the unique key's value begins, that key, the recall handle (b"" for
    none), and whether the sender waits for the disk."""

    topic: str
    queue_id: int
    properties: bytes
    unique_at: int
    unique_key: bytes
    handle: bytes
    waits: bool


def place_delayed(broker: BrokerContext, topic: str, queue_id: int, text: bytes) -> Placed | None:
    """None for the long way: it asks for no delay after all, for one that is over, or for what is refused."""
    try:
        properties = decode_properties(text.decode())
    except (UnicodeDecodeError, RemoteProtocolError):
        return None
    unique_key = properties.get(_UNIQ)
    if not unique_key or not _LEFT_ALONE.isdisjoint(properties):
        return None
    config = broker.config
    properties[message_const.MSG_REGION] = config.region_id
    properties[message_const.TRACE_SWITCH] = "true" if config.trace_on else "false"
    properties[message_const.CLUSTER] = config.broker_cluster_name
    level = properties.get(message_const.DELAY_TIME_LEVEL)
    handle: str | None = None
    try:
        if level is not None:
            if not level.isdigit() or not level.isascii() or len(level) > _LEVEL_DIGITS_MAX or not int(level):
                return None
            forget_time(properties)
            waits_in, waits_at = to_schedule_topic(properties, topic, queue_id, int(level), broker.schedule.max_delay_level)
        elif is_timed(properties):
            waits_in, waits_at = timed_send.place_timed(broker, properties, topic, queue_id)
            if waits_in != topic_validator.TIMER_TOPIC:
                return None
            handle = timed_send.recall_handle(broker, properties, unique_key)
        else:
            return None
        encoded = encode_properties(properties)
        if level is None:
            timed_send.check_room(broker, encoded)
    except (BrokerError, LocalProtocolError):
        return None
    waits = properties.get(message_const.WAIT_STORE_MSG_OK, "true").lower() == "true"
    # One byte earlier than found, for the one that is put before: so it is where the pair begins, plus its name.
    unique_at = (b"\x02" + encoded).find(_UNIQ_PAIR) + len(_UNIQ_PAIR) - 1
    return Placed(
        waits_in, waits_at, encoded, unique_at, unique_key.encode(), handle.encode() if handle is not None else b"", waits
    )
