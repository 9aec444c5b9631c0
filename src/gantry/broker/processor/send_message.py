"""SEND_MESSAGE, SEND_MESSAGE_V2, SEND_BATCH_MESSAGE: the complete rules, one request at a time.

The common sends are taken by `broker.hot` before they get here; what comes here is everything else: unknown topics,
delayed and retried messages, missing unique keys, batches with trouble inside, and every refusal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from datetime import datetime
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, DiskFull, LocalProtocolError, MessageIllegal, RemoteProtocolError, StoreError
from gantry.model import StoreMessage, TopicConfig, message_const, names, perm_name, sys_flag, topic_config, topic_validator
from gantry.model.message_type import PRIORITY, message_type, priority_of
from gantry.protocol.message.batch import decode_batch
from gantry.protocol.message.message_id import offset_msg_id
from gantry.protocol.message.properties import PROPERTIES_SIZE_MAX, decode_properties, encode_properties, find_property
from gantry.protocol.remoting.codes import V3_4_9, RequestCode, ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.send_message import SendMessageRequestHeader, SendMessageResponseHeader
from gantry.protocol.remoting.header.send_message_v2 import SendMessageRequestHeaderV2
from gantry.runtime.address import split_address
from gantry.runtime.begun import begun
from gantry.runtime.remoting_server import RequestContext
from gantry.store import PutResult, PutStatus

from ..metrics import message_kind
from ..schedule.delay_level import to_schedule_topic
from ..timer.deliver_time import TIMER_PROPERTIES, forget_time, is_timed
from ..topic.topic_config_manager import retry_topic_config
from ..transaction.half_message import MARKS_SIZE_MAX, is_half, to_half_topic
from . import put_answer, timed_send
from .remarks import describe_topic, group_not_exist, kept_otherwise, topic_not_exist

if TYPE_CHECKING:
    from ..context import BrokerContext

log = logging.getLogger(__name__)

DLQ_NUMS_PER_GROUP = 1
NEW_TOPIC_TOLD_MS = 1_000
"""How long the first send to a topic waits for the name servers to have heard of it."""

BATCH_COUNT_MAX = 32_768
"""Members of one batch: with their stored form, more do not fit into 4 MiB; and a bound on what one request asks for."""

BATCH_COUNT_AT_ONCE = 2_048
"""A longer batch lets others have their turn between being read and being stored."""

_IN_NUMBERS = (message_const.TRANSACTION_PREPARED, message_const.DELAY_TIME_LEVEL, message_const.TIMER_DELIVER_MS)
"""Names that others of their kind contain: DELAY is in TIMER_DELAY_MS and TIMER_DELAY_SEC."""

_REFUSED_IN_BATCH = (
    message_const.DELAY_TIME_LEVEL,
    message_const.TRANSACTION_PREPARED,
    *TIMER_PROPERTIES,
)


class SendMessageProcessor:
    """Answers one send. Source: SendMessageProcessor, AbstractSendMessageProcessor, HookUtils (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: SendMessageRequestHeader | SendMessageRequestHeaderV2
    ) -> RemotingCommand | Awaitable[RemotingCommand]:
        if isinstance(header, SendMessageRequestHeaderV2):
            header = header.to_v1()
        sending = self._send(ctx, request, header)
        # Of what is rare half messages and delayed ones come in numbers.
        properties = header.properties or ""
        return begun(sending) if any(name in properties for name in _IN_NUMBERS) else sending

    async def _send(self, ctx: RequestContext, request: RemotingCommand, header: SendMessageRequestHeader) -> RemotingCommand:
        checked = False
        try:
            topic = await self.check(ctx, header)
            checked = True
            if header.batch or request.code == RequestCode.SEND_BATCH_MESSAGE:
                response = await self._send_batch(ctx, request, header, topic)
            else:
                response = await self._send_one(ctx, request, header, topic)
        except BrokerError as refused:
            response = request.reply(refused.response_code, refused.remark)
            if checked:
                # A send that breaks the topic's rules never reached the store; its figures do not speak of it.
                self._broker.stats.put_failure()
        tell_region(self._broker, response)
        return response

    # -- rules

    async def check(self, ctx: RequestContext, header: SendMessageRequestHeader) -> TopicConfig:
        """What holds for every send; the topic, created when the rules allow it. Raises: BrokerError."""
        config, topics = self._broker.config, self._broker.topics
        starts_at = config.start_accept_send_request_time_stamp
        if starts_at and self._broker.clock.now_ms() < starts_at:
            shown = datetime.fromtimestamp(starts_at / 1000).strftime("%Y-%m-%d %H:%M:%S,") + f"{starts_at % 1000:03d}"
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"broker unable to service, until {shown}")
        name = header.topic
        if not perm_name.is_writeable(config.broker_permission) and topics.is_order_topic(name):
            raise BrokerError(ResponseCode.NO_PERMISSION, f"the broker[{config.broker_ip1}] sending message is forbidden")
        remark = topic_validator.validate_topic(name)
        if remark is not None:
            raise BrokerError(ResponseCode.INVALID_PARAMETER, remark)
        if topic_validator.is_not_allowed_send_topic(name):
            raise BrokerError(ResponseCode.NO_PERMISSION, f"Sending message to topic[{name}] is forbidden.")
        topic = topics.select(name) or await self._create_topic(ctx, header)
        if topic.other_keeping is not None:
            raise BrokerError(ResponseCode.NO_PERMISSION, kept_otherwise(topic))
        if header.queue_id >= max(topic.write_queue_nums, topic.read_queue_nums):
            raise BrokerError(
                ResponseCode.INVALID_PARAMETER,
                f"request queueId[{header.queue_id}] is illegal, {describe_topic(topic)} "
                f"Producer: {ctx.channel.remote_address}",
            )
        return topic

    async def _create_topic(self, ctx: RequestContext, header: SendMessageRequestHeader) -> TopicConfig:
        name, topics = header.topic, self._broker.topics
        retry = names.is_retry_topic(name)
        unit_flag = 0
        if header.unit_mode:
            unit_flag = sys_flag.TOPIC_UNIT_SUB if retry else sys_flag.TOPIC_UNIT
        log.warning("the topic %s not exist, producer: %s", name, ctx.channel.remote_address)
        try:
            topic = await topics.create_in_send(
                name,
                header.default_topic,
                header.default_topic_queue_nums,
                topic_sys_flag=unit_flag,
                remote_address=ctx.channel.remote_address,
            )
            if topic is None and retry:
                topic = await topics.create_if_absent(retry_topic_config(name, 1, perm_name.PERM_READ_WRITE, unit_flag))
        except StoreError as error:
            raise BrokerError(
                ResponseCode.SERVICE_NOT_AVAILABLE, f"topic[{name}] cannot be created now, its file is not written: {error}"
            ) from error
        if topic is None:
            raise BrokerError(ResponseCode.TOPIC_NOT_EXIST, topic_not_exist(name))
        # Whoever gets the answer may ask for the route next; a silent name server must not cost the sender his time-out.
        await self._broker.registration.flush(NEW_TOPIC_TOLD_MS)
        return topic

    def queue_id(self, header: SendMessageRequestHeader, topic: TopicConfig) -> int:
        if header.queue_id >= 0:
            return header.queue_id
        if topic.write_queue_nums <= 0:
            raise BrokerError(ResponseCode.NO_PERMISSION, f"the topic[{topic.topic_name}] has no queue to write to")
        return self._broker.rng.randrange(topic.write_queue_nums)

    # -- one message

    async def _send_one(
        self, ctx: RequestContext, request: RemotingCommand, header: SendMessageRequestHeader, topic: TopicConfig
    ) -> RemotingCommand:
        broker = self._broker
        queue_id = self.queue_id(header, topic)
        name = topic.topic_name
        properties = self._properties(header)
        kind = message_kind(properties)
        if names.is_retry_topic(name):
            topic, queue_id = await self._retry_or_dead_letter(request, header, topic, queue_id, properties)
            name = topic.topic_name
        flags = header.sys_flag
        half = self._is_half(header, properties)
        if message_const.TRANSACTION_PREPARED in properties:
            flags = sys_flag.with_transaction_type(flags, sys_flag.TRANSACTION_NOT)
        self._refuse_not_supported(properties, flags)
        if topic.topic_filter_type == topic_config.MULTI_TAG:
            flags |= sys_flag.MULTI_TAGS
        priority = priority_of(properties)
        if priority >= 0:
            if message_type(properties) == PRIORITY:
                queue_id = min(priority, max(topic.write_queue_nums - 1, 0))
            else:
                del properties[message_const.PRIORITY]
        unique_key = properties.get(message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX)
        if unique_key is None:
            unique_key = broker.unique_ids.next_id(broker.clock.now_ms())
            properties[message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX] = unique_key
        properties[message_const.CLUSTER] = broker.config.broker_cluster_name
        real_topic, stored_queue_id = name, queue_id
        level = 0 if half else delay_level_of(properties)
        if half:
            name, stored_queue_id = to_half_topic(properties, name, queue_id, header.producer_group)
        elif level > 0:
            forget_time(properties)
            name, stored_queue_id = to_schedule_topic(properties, name, queue_id, level, broker.schedule.max_delay_level)
        elif is_timed(properties):
            name, stored_queue_id = timed_send.place_timed(broker, properties, name, queue_id)
        stored_properties = encoded(properties)
        handle = None
        if name == topic_validator.TIMER_TOPIC:
            timed_send.check_room(broker, stored_properties)
            handle = timed_send.recall_handle(broker, properties, unique_key)
        message = StoreMessage(
            topic=name,
            queue_id=stored_queue_id,
            body=request.body,
            properties=stored_properties,
            flag=header.flag,
            sys_flag=flags,
            born_timestamp=header.born_timestamp,
            born_host=split_address(ctx.channel.remote_address),
            store_host=broker.store_host,
            reconsume_times=header.reconsume_times or 0,
            wait_store_ok=waits_for_store(properties),
        )
        if half and len(message.properties) > PROPERTIES_SIZE_MAX - MARKS_SIZE_MAX:
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, put_answer.message_illegal(broker))
        result = await put(broker, [message])
        if half and result.ok:
            broker.transactions.half_stored(real_topic)
        return self._answer(request, name, queue_id, unique_key, result, kind, handle)

    def _is_half(self, header: SendMessageRequestHeader, properties: dict[str, str]) -> bool:
        """Whether this begins a transaction. Raises: BrokerError where transactions are refused."""
        config = self._broker.config
        half = is_half(properties, header.reconsume_times or 0, delay_level_of(properties))
        if half and config.reject_transaction_message:
            raise BrokerError(
                ResponseCode.NO_PERMISSION, f"the broker[{config.broker_ip1}] sending transaction message is forbidden"
            )
        return half

    def _properties(self, header: SendMessageRequestHeader) -> dict[str, str]:
        """The message's properties, with the region's added and the POP handle removed."""
        properties = decode_properties(header.properties) if header.properties else {}
        properties.pop(message_const.POP_CK, None)
        properties[message_const.MSG_REGION] = self._broker.config.region_id
        properties[message_const.TRACE_SWITCH] = "true" if self._broker.config.trace_on else "false"
        return properties

    def _refuse_not_supported(self, properties: dict[str, str], flags: int) -> None:
        """What this broker cannot keep its promise for is refused, never stored as an ordinary message."""
        if flags & sys_flag.TRANSACTION_MASK:
            # Stored as it is, it would be in no queue, or look committed.
            raise BrokerError(
                ResponseCode.MESSAGE_ILLEGAL, "a message with a transaction in its sysFlag must have the property TRAN_MSG"
            )
        if flags & (sys_flag.INNER_BATCH | sys_flag.NEED_UNWRAP) or message_const.INNER_NUM in properties:
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, "inner batch messages are not supported by this broker version")

    async def _retry_or_dead_letter(
        self,
        request: RemotingCommand,
        header: SendMessageRequestHeader,
        topic: TopicConfig,
        queue_id: int,
        properties: dict[str, str],
    ) -> tuple[TopicConfig, int]:
        """A message sent to a retry topic goes to the dead letters once its tries are used up.

        So do the messages of a group that holds queue locks: its consumers are orderly and send here only what they
        gave up. Source: SendMessageProcessor.handleRetryAndDLQ (5.3).
        """
        broker = self._broker
        group = topic.topic_name.removeprefix(names.RETRY_GROUP_TOPIC_PREFIX)
        group_config = broker.subscriptions.find(group)
        if group_config is None:
            raise BrokerError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, group_not_exist(group))
        tries_max = group_config.retry_max_times
        if request.version >= V3_4_9 and header.max_reconsume_times is not None:
            tries_max = header.max_reconsume_times
        if (header.reconsume_times or 0) <= tries_max and broker.locks.is_lock_all_expired(group):
            return topic, queue_id
        properties.pop(message_const.DELAY_TIME_LEVEL, None)
        dead_letters = await dlq_topic(broker, group)
        broker.stats.dlq(group, topic.topic_name)
        broker.metrics.dead_letter(header.producer_group, header.topic)
        return dead_letters, broker.rng.randrange(DLQ_NUMS_PER_GROUP)

    # -- a batch

    async def _send_batch(
        self, ctx: RequestContext, request: RemotingCommand, header: SendMessageRequestHeader, topic: TopicConfig
    ) -> RemotingCommand:
        broker = self._broker
        name = topic.topic_name
        if len(name) > topic_validator.TOPIC_LENGTH_MAX:
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, f"message topic length too long {len(name)}")
        if names.is_retry_topic(name):
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, f"batch request does not support retry group {name}")
        queue_id = self.queue_id(header, topic)
        flags = header.sys_flag
        properties = self._properties(header)
        self._refuse_not_supported(properties, flags)
        if delay_level_of(properties) > 0 or is_timed(properties):
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, "a batch cannot be delayed")
        if is_half(properties, 0, 0):
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, "a batch cannot be sent in a transaction")
        if topic.topic_filter_type == topic_config.MULTI_TAG:
            flags |= sys_flag.MULTI_TAGS
        body = request.body
        if len(body) > broker.config.max_message_size:
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, put_answer.message_illegal(broker))
        try:
            elements = decode_batch(body, count_max=BATCH_COUNT_MAX)
        except RemoteProtocolError as error:
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, f"the batch is malformed: {error}") from None
        if not elements:
            raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, "the batch holds no message")
        suspicious = [name for name in _REFUSED_IN_BATCH if name.encode() in body]
        for element in elements if suspicious else ():
            for refused in suspicious:
                if find_property(element.properties, refused.encode()) is not None:
                    raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, f"a member of a batch cannot have the property {refused}")
        born_host, reconsume_times, wait = (
            split_address(ctx.channel.remote_address),
            header.reconsume_times or 0,
            waits_for_store(properties),
        )
        messages = [
            StoreMessage(
                topic=name,
                queue_id=queue_id,
                body=element.body,
                properties=element.properties,
                flag=element.flag,
                sys_flag=flags,
                born_timestamp=header.born_timestamp,
                born_host=born_host,
                store_host=broker.store_host,
                reconsume_times=reconsume_times,
                wait_store_ok=wait,
            )
            for element in elements
        ]
        if len(messages) > BATCH_COUNT_AT_ONCE:
            await asyncio.sleep(0)
        result = await put(broker, messages)
        unique_key = properties.get(message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX)
        return self._answer(request, name, queue_id, unique_key, result, message_kind(properties))

    # -- answers

    def _answer(
        self,
        request: RemotingCommand,
        stored_topic: str,
        queue_id: int,
        unique_key: str | None,
        result: PutResult,
        kind: str,
        recall_handle: str | None = None,
    ) -> RemotingCommand:
        """The answer to a put: `queue_id` is the one the sender asked for, also when the message waits elsewhere."""
        broker = self._broker
        code = put_answer.STORED_CODES.get(result.status)
        if code is None or not result.records:
            raise BrokerError(*put_answer.refusal(result.status, broker, result.remark))
        records = result.records
        size = sum(record.size for record in records)
        broker.stats.topic_put(stored_topic, queue_id, len(records), size)
        broker.metrics.message_in(stored_topic, kind, len(records), size)
        return request.reply(
            code,
            header=SendMessageResponseHeader(
                msg_id=",".join(offset_msg_id(broker.store_host, record.physical_offset) for record in records),
                queue_id=queue_id,
                queue_offset=records[0].queue_offset,
                transaction_id=unique_key,
                recall_handle=recall_handle,
            ),
        )


def tell_region(broker: BrokerContext, response: RemotingCommand) -> None:
    """What every answer to a send carries beside its own fields."""
    fields = response.ext_fields if response.ext_fields is not None else {}
    fields[message_const.MSG_REGION] = broker.config.region_id
    fields[message_const.TRACE_SWITCH] = "true" if broker.config.trace_on else "false"
    response.ext_fields = fields


async def dlq_topic(broker: BrokerContext, group: str) -> TopicConfig:
    """The group's dead letter topic, created when it is missing."""
    try:
        return await broker.topics.create_if_absent(
            retry_topic_config(names.dlq_topic(group), DLQ_NUMS_PER_GROUP, perm_name.PERM_READ_WRITE)
        )
    except StoreError as error:
        raise BrokerError(
            ResponseCode.SYSTEM_ERROR, f"topic[{names.dlq_topic(group)}] not exist and cannot be created now: {error}"
        ) from error


async def put(broker: BrokerContext, messages: list[StoreMessage]) -> PutResult:
    """Stores messages, all of them or none; errors are told as refusals. Raises: BrokerError."""
    if broker.replicas.too_few:
        raise BrokerError(*put_answer.refusal(PutStatus.IN_SYNC_REPLICAS_NOT_ENOUGH, broker))
    if broker.waiting_sends.full:
        raise BrokerError(ResponseCode.SYSTEM_BUSY, "[OVERLOAD]system busy, start flow control for a while")
    broker.waiting_sends.count += 1
    try:
        if len(messages) == 1:
            result = await broker.store.put(messages[0])
        else:
            result = await broker.store.put_batch(messages)
    except MessageIllegal:
        raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, put_answer.message_illegal(broker)) from None
    except StoreError as error:
        if not isinstance(error, DiskFull):
            log.error("a message was not stored: %s", error)
        raise BrokerError(ResponseCode.SERVICE_NOT_AVAILABLE, put_answer.service_not_available(broker)) from error
    finally:
        broker.waiting_sends.count -= 1
    if result.status is PutStatus.PUT_OK and any(message.wait_store_ok for message in messages):
        result.status = broker.replicas.weak_status
    return result


def delay_level_of(properties: dict[str, str]) -> int:
    """The level a sender asks for, 0 for none. Raises: BrokerError when it is no number."""
    text = properties.get(message_const.DELAY_TIME_LEVEL)
    if text is None:
        return 0
    try:
        return int(text)
    except ValueError:
        raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, f"the delay level {text[:32]!r} is not a number") from None


def encoded(properties: dict[str, str]) -> bytes:
    try:
        return encode_properties(properties)
    except LocalProtocolError as error:
        raise BrokerError(ResponseCode.MESSAGE_ILLEGAL, str(error)) from None


def waits_for_store(properties: dict[str, str]) -> bool:
    """Whether the sender waits for disk and slaves; missing means yes. Source: Message.isWaitStoreMsgOK (5.3)."""
    return properties.get(message_const.WAIT_STORE_MSG_OK, "true").lower() == "true"
