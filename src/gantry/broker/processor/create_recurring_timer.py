"""CREATE_RECURRING_TIMER (900011), ours: a message by a cron expression."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, StoreError
from gantry.model import message_const, topic_validator
from gantry.protocol.message.properties import PROPERTIES_SIZE_MAX, decode_properties
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.create_recurring_timer import CreateRecurringTimerRequestHeader

from ..recurring import CronIllegal, RecurringRefused
from ..recurring.definition import ONCE, SKIP, Definition
from ..recurring.recurring_timers import BODY_BYTES_MAX
from .json_reply import json_reply
from .remarks import describe_topic, kept_otherwise
from .send_message import encoded
from .timer_orders import check_changeable

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

OWN_PROPERTIES_MAX = 1024
"""What a message by cron has besides the properties that were asked for."""
_NAME = re.compile(r"[A-Za-z0-9_.%|-]{1,120}\Z")
_ALLOWED = frozenset({message_const.KEYS, message_const.TAGS, message_const.WAIT_STORE_MSG_OK, message_const.SHARDING_KEY})
"""Of the properties that the system reads, those that may be asked for."""


class CreateRecurringTimerProcessor:
    """Answered when the definition is on the disk; the answer's body is the `RecurringTimer`."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: CreateRecurringTimerRequestHeader
    ) -> RemotingCommand:
        broker = self._broker
        definition = self._definition(request, header)
        try:
            return json_reply(request, await broker.recurring.create(definition))
        except CronIllegal as error:
            raise BrokerError(ResponseCode.INVALID_PARAMETER, str(error)) from None
        except RecurringRefused as error:
            raise BrokerError(ResponseCode.ILLEGAL_OPERATION, str(error)) from None
        except StoreError as error:
            raise BrokerError(ResponseCode.SERVICE_NOT_AVAILABLE, f"the definition is not on the disk: {error}") from error

    def _definition(self, request: RemotingCommand, header: CreateRecurringTimerRequestHeader) -> Definition:
        """Raises: BrokerError."""
        broker = self._broker
        check_changeable(broker, header.topic)
        topic = broker.topics.select(header.topic)
        assert topic is not None
        if topic.other_keeping is not None:
            raise BrokerError(ResponseCode.NO_PERMISSION, kept_otherwise(topic))
        if topic_validator.is_not_allowed_send_topic(header.topic):
            raise BrokerError(ResponseCode.NO_PERMISSION, f"Sending message to topic[{header.topic}] is forbidden.")
        if not _NAME.match(header.name):
            raise BrokerError(ResponseCode.INVALID_PARAMETER, "a name has 1 to 120 characters of A-Z a-z 0-9 _ . % | -")
        if header.missed not in (ONCE, SKIP):
            raise BrokerError(ResponseCode.INVALID_PARAMETER, f"missed is {header.missed[:32]!r}, it must be {ONCE} or {SKIP}")
        if not -1 <= header.queue_id < topic.write_queue_nums:
            raise BrokerError(
                ResponseCode.INVALID_PARAMETER, f"request queueId[{header.queue_id}] is illegal, {describe_topic(topic)}"
            )
        properties = decode_properties(header.properties)
        refused = sorted(
            name for name in properties if name.startswith("CRON_") or (name in message_const.RESERVED and name not in _ALLOWED)
        )
        if refused:
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, f"a recurring timer cannot have the property {refused[0]}")
        if len(request.body) > min(BODY_BYTES_MAX, broker.config.max_message_size):
            raise BrokerError(
                ResponseCode.MESSAGE_ILLEGAL, f"the body has {len(request.body)} bytes, at most {BODY_BYTES_MAX} are kept"
            )
        if len(encoded(properties)) > PROPERTIES_SIZE_MAX - OWN_PROPERTIES_MAX:
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, "the properties are too long")
        now_ms = broker.clock.now_ms()
        return Definition(
            name=header.name,
            topic=header.topic,
            cron=header.cron,
            time_zone=header.time_zone,
            missed=header.missed,
            queue_id=header.queue_id,
            properties=properties,
            body=bytes(request.body),
            created_ms=now_ms,
            unique_id=broker.unique_ids.next_id(now_ms),
        )
