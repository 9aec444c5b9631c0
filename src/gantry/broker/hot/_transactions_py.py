"""Halves and their ends as the pure engine lays them out; `_transactions_c.pyx` is the compiled twin.

A half is common when its properties are written as this broker would write them and none of them makes it do more than
append; an end is, when it names an open half that is among the newest bytes of the log. All others are the processors'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from gantry.errors import LocalProtocolError, MessageIllegal, RemoteProtocolError
from gantry.model import message_const, sys_flag
from gantry.protocol.disk.consume_queue_unit import UNIT_SIZE
from gantry.protocol.message.properties import PROPERTIES_SIZE_MAX, decode_properties, encode_properties
from gantry.protocol.message.record import RecordView
from gantry.protocol.remoting.codes import RequestCode

from ..metrics.rpc import HOT_CODES
from ..transaction.half_message import HALF_TOPIC, MARKS_SIZE_MAX, NOT_DELAYED, QUEUE_ID, Half, to_half_topic
from ._plan_py import ASK_FOR_MORE, NO_PLACE, plain_number
from .gates import ends_are_common

if TYPE_CHECKING:
    from gantry.protocol.remoting.command import RemotingCommand
    from gantry.store import MessageStore

    from ..context import BrokerContext
    from ._plan_py import HotPlan

PREPARED = sys_flag.TRANSACTION_PREPARED
COMMIT, ROLLBACK = sys_flag.TRANSACTION_COMMIT, sys_flag.TRANSACTION_ROLLBACK
_END_PLACE = HOT_CODES.index(RequestCode.END_TRANSACTION)

NOT_FROM_SENDERS = frozenset(
    {
        *NOT_DELAYED,
        *ASK_FOR_MORE,
        message_const.REAL_TOPIC,
        message_const.REAL_QUEUE_ID,
        message_const.TRANSACTION_ID,
        message_const.TRANSACTION_CHECK_TIMES,
        message_const.TRANSACTION_PREPARED_QUEUE_OFFSET,
    }
)
"""Properties that make the broker do more with a half than append it, or that it sets itself."""


class CommonHalf(NamedTuple):
    unique_key: str
    properties: bytes
    waits: bool


def common_half(text: str, topic: str, queue_id: int, producer_group: str, suffix: bytes) -> CommonHalf | None:
    """A half with these properties as it is stored; None leaves it to the processors. `suffix` is what each message gets."""
    properties = decode_properties(text)
    try:
        own = encode_properties(properties)
    except LocalProtocolError:
        return None
    written = text.encode("utf-8", "surrogatepass")
    if written[-1:] != b"\x02":
        written += b"\x02"
    unique_key = properties.get(message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX)
    if (
        own != written
        or unique_key is None
        or b"\0" in own
        or not NOT_FROM_SENDERS.isdisjoint(properties)
        or properties.get(message_const.TRANSACTION_PREPARED, "").lower() != "true"
    ):
        return None
    waits = properties.get(message_const.WAIT_STORE_MSG_OK, "true").lower() == "true"
    count = len(properties)
    to_half_topic(properties, topic, queue_id, producer_group)
    try:
        marks = encode_properties(dict(list(properties.items())[count:]))
    except LocalProtocolError:
        return None
    stored = own + suffix + marks
    return CommonHalf(unique_key, stored, waits) if len(stored) <= PROPERTIES_SIZE_MAX - MARKS_SIZE_MAX else None


def common_open_half(store: MessageStore, queue_offset: int, physical_offset: int, producer_group: str) -> Half | None:
    """The half that an end names, when it is in memory, is that producer's, and has no immunity; None leaves the end to others.

    It is named by both places, and must be what the queue says, at this offset of it.
    """
    queue = store.queue_table.find(HALF_TOPIC, QUEUE_ID)
    if queue is None or not queue.tail_base <= queue_offset < queue.visible_offset:
        return None
    unit = queue.tail_units(queue_offset, 1)
    if len(unit) != UNIT_SIZE or int.from_bytes(unit[:8], "big") != physical_offset:
        return None
    record = store.commit_log.hot_tail.read(physical_offset, int.from_bytes(unit[8:12], "big"))
    if record is None:
        return None
    try:
        half = Half(RecordView(record))
    except RemoteProtocolError:
        return None
    if half.producer_group != producer_group or half.immunity_ms is not None or half.real_queue_id is None:
        return None
    return half


def lay_out_end(broker: BrokerContext, plan: HotPlan, request: RemotingCommand, takes: Callable[[str, int], bool]) -> bool:
    """Lays out what one end of a transaction asks for; False leaves it to others, and the plan as it was.

    `takes` says whether messages to a topic and queue are common.
    """
    fields = request.ext_fields
    if fields is None or request.is_response or not ends_are_common(broker):
        return False
    try:
        queue_offset, physical_offset = (
            plain_number(fields["tranStateTableOffset"], 18),
            plain_number(fields["commitLogOffset"], 18),
        )
        outcome, group, _ = plain_number(fields["commitOrRollback"]), fields["producerGroup"], fields["msgId"]
    except (KeyError, ValueError):
        return False
    # Whether a check asked for it matters only where there is an immunity.
    if outcome not in (COMMIT, ROLLBACK):
        return False
    half = common_open_half(broker.store, queue_offset, physical_offset, group)
    if half is None or not broker.transactions.ledger.is_open_in_place(queue_offset):
        return False
    planned = plan.of_transactions()
    topic, queue_id = half.real_topic, half.real_queue_id
    if queue_offset in planned.ended or queue_id is None or not topic or not takes(topic, queue_id):
        return False
    store_plan = plan.store_plan or broker.store.appender.new_plan()
    plan.store_plan = store_plan
    place = NO_PLACE
    if outcome == COMMIT:
        try:
            record = store_plan.add(half.committed(topic, queue_id))
        except MessageIllegal:
            return False
        place = record.queue_offset, record.physical_offset, record.size
        plan.topics.append((topic, queue_id, 1, record.size, 1))
        key = topic, (store_plan.store_timestamp - half.view.born_timestamp) // 1000
        planned.committed[key] = planned.committed.get(key, 0) + 1
    else:
        planned.rolled_back[topic] = planned.rolled_back.get(topic, 0) + 1
    planned.ended[queue_offset] = None
    plan.codes.append((_END_PLACE, True, request.is_oneway))
    if not request.is_oneway:
        opaque = (request.opaque & 0xFFFFFFFF).to_bytes(4, "big")
        plan.replies.append((opaque, request.serialize_type, 0, len(plan.places), 0, b"", True))
    plan.places.append(place)
    return True
