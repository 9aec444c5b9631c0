"""Questions to brokers, one function each: builds the request, reads the answer, knows no state.

Every function raises BrokerError for an answer other than the ones it names, and RemotingError when none came.
Times are ms, offsets queue entries, addresses `ip:port`.
"""

from __future__ import annotations

from collections.abc import Iterable

from gantry.errors import BrokerError
from gantry.model import HeartbeatData, MessageQueue, SubscriptionData, sys_flag
from gantry.protocol import json_dialect
from gantry.protocol.remoting import RemotingCommand, RequestCode, ResponseCode
from gantry.protocol.remoting.body.check_client import CheckClientRequestBody
from gantry.protocol.remoting.header.consumer_send_msg_back import ConsumerSendMsgBackRequestHeader
from gantry.protocol.remoting.header.end_transaction import EndTransactionRequestHeader
from gantry.protocol.remoting.header.get_consumer_list_by_group import GetConsumerListByGroupRequestHeader
from gantry.protocol.remoting.header.get_max_offset import GetMaxOffsetRequestHeader, GetMaxOffsetResponseHeader
from gantry.protocol.remoting.header.get_min_offset import GetMinOffsetRequestHeader, GetMinOffsetResponseHeader
from gantry.protocol.remoting.header.pull_message import PullMessageRequestHeader, PullMessageResponseHeader
from gantry.protocol.remoting.header.query_consumer_offset import (
    QueryConsumerOffsetRequestHeader,
    QueryConsumerOffsetResponseHeader,
)
from gantry.protocol.remoting.header.recall_message import RecallMessageRequestHeader, RecallMessageResponseHeader
from gantry.protocol.remoting.header.search_offset import SearchOffsetRequestHeader, SearchOffsetResponseHeader
from gantry.protocol.remoting.header.send_message import SendMessageResponseHeader
from gantry.protocol.remoting.header.unregister_client import UnregisterClientRequestHeader
from gantry.protocol.remoting.header.update_consumer_offset import UpdateConsumerOffsetRequestHeader

from .message_decoding import decode_pulled
from .remoting import Remoting, ask
from .results import PULL_STATUS_BY_CODE, SEND_STATUS_BY_CODE, PullResult, PullStatus, SendResult

DEFAULT_TIMEOUT_MS = 3000


class BrokerApi:
    """The requests a producer or consumer sends to brokers."""

    def __init__(self, remoting: Remoting, *, timeout_ms: int = DEFAULT_TIMEOUT_MS) -> None:
        self._remoting = remoting
        self._timeout_ms = timeout_ms

    async def send(
        self, address: str, command: RemotingCommand, queue: MessageQueue, message_id: str, *, timeout_ms: int
    ) -> SendResult:
        """Hand over one message or batch. The four "stored" codes are a result, every other one a BrokerError."""
        response = await self._remoting.invoke(address, command, timeout_ms)
        status = SEND_STATUS_BY_CODE.get(response.code)
        if status is None:
            raise BrokerError(response.code, response.remark or "", address=address)
        header = SendMessageResponseHeader.decode(response.ext_fields)
        return SendResult(
            status=status,
            message_id=message_id,
            offset_message_id=header.msg_id,
            queue=MessageQueue(queue.topic, queue.broker_name, header.queue_id),
            queue_offset=header.queue_offset,
            transaction_id=header.transaction_id,
            recall_handle=header.recall_handle,
            region_id=response.field("MSG_REGION"),
            trace_on=response.field("TRACE_ON") != "false",
        )

    async def recall(self, address: str, header: RecallMessageRequestHeader, *, timeout_ms: int) -> str:
        """Take a delayed message back; its unique id. Every code but 0 is a BrokerError."""
        response = await ask(self._remoting, address, RemotingCommand.request(header), timeout_ms)
        return RecallMessageResponseHeader.decode(response.ext_fields).msg_id

    async def send_oneway(self, address: str, command: RemotingCommand) -> None:
        await self._remoting.invoke_oneway(address, command)

    async def end_transaction(
        self, address: str, header: EndTransactionRequestHeader, broker_name: str, *, remark: str | None = None
    ) -> bool:
        """Tell how a transaction ended. Returns: whether the broker has confirmed it; it answers no unknown outcome."""
        command = RemotingCommand.request(header)
        command.remark = remark
        command.ext_fields = {**(command.ext_fields or {}), "bname": broker_name}
        if header.commit_or_rollback == sys_flag.TRANSACTION_NOT:
            await self._remoting.invoke_oneway(address, command)
            return False
        await ask(self._remoting, address, command, self._timeout_ms)
        return True

    async def pull(self, address: str, header: PullMessageRequestHeader, *, broker_name: str, timeout_ms: int) -> PullResult:
        """One pull, perhaps held by the broker. The four pull codes are a result, every other one a BrokerError."""
        response = await self._remoting.invoke(address, RemotingCommand.request(header), timeout_ms)
        status = PULL_STATUS_BY_CODE.get(response.code)
        if status is None:
            raise BrokerError(response.code, response.remark or "", address=address)
        answer = PullMessageResponseHeader.decode(response.ext_fields)
        messages = decode_pulled(response.body, broker_name=broker_name) if status is PullStatus.FOUND else []
        return PullResult(
            status=status,
            next_begin_offset=answer.next_begin_offset,
            min_offset=answer.min_offset,
            max_offset=answer.max_offset,
            messages=messages,
            suggest_broker_id=answer.suggest_which_broker_id,
        )

    async def heartbeat(self, address: str, data: HeartbeatData) -> None:
        command = RemotingCommand.request(RequestCode.HEART_BEAT, json_dialect.encode(data))
        await ask(self._remoting, address, command, self._timeout_ms)

    async def check_client_config(self, address: str, client_id: str, group: str, subscription: SubscriptionData) -> None:
        """Raises: BrokerError when the broker does not take the subscription."""
        body = CheckClientRequestBody(client_id=client_id, group=group, subscription_data=subscription)
        command = RemotingCommand.request(RequestCode.CHECK_CLIENT_CONFIG, json_dialect.encode(body))
        await ask(self._remoting, address, command, self._timeout_ms)

    async def unregister(
        self, address: str, client_id: str, *, producer_group: str | None = None, consumer_group: str | None = None
    ) -> None:
        header = UnregisterClientRequestHeader(
            client_id=client_id, producer_group=producer_group, consumer_group=consumer_group
        )
        await ask(self._remoting, address, RemotingCommand.request(header), self._timeout_ms)

    async def consumer_ids(self, address: str, group: str) -> list[str]:
        """Client ids of the group, sorted; empty when the broker knows no member."""
        command = RemotingCommand.request(GetConsumerListByGroupRequestHeader(consumer_group=group))
        response = await self._remoting.invoke(address, command, self._timeout_ms)
        if response.code == ResponseCode.SYSTEM_ERROR:
            return []  # the official answer for a group without members has no code of its own
        if response.code != ResponseCode.SUCCESS:
            raise BrokerError(response.code, response.remark or "", address=address)
        return sorted(json_dialect.decode(response.body).get("consumerIdList") or [])

    async def query_offset(self, address: str, group: str, queue: MessageQueue) -> int | None:
        """The group's committed offset; None when it has none in this queue."""
        header = QueryConsumerOffsetRequestHeader(consumer_group=group, topic=queue.topic, queue_id=queue.queue_id)
        response = await self._remoting.invoke(address, RemotingCommand.request(header), self._timeout_ms)
        if response.code == ResponseCode.QUERY_NOT_FOUND:
            return None
        if response.code != ResponseCode.SUCCESS:
            raise BrokerError(response.code, response.remark or "", address=address)
        return QueryConsumerOffsetResponseHeader.decode(response.ext_fields).offset

    async def commit_offset(self, address: str, group: str, queue: MessageQueue, offset: int) -> None:
        """Answered, unlike the official client's one-way form: after stop() returns the offset is known to be kept."""
        header = UpdateConsumerOffsetRequestHeader(
            consumer_group=group, topic=queue.topic, queue_id=queue.queue_id, commit_offset=offset
        )
        await ask(self._remoting, address, RemotingCommand.request(header), self._timeout_ms)

    async def max_offset(self, address: str, queue: MessageQueue) -> int:
        """Offset the next message of the queue will get."""
        header = GetMaxOffsetRequestHeader(topic=queue.topic, queue_id=queue.queue_id)
        response = await ask(self._remoting, address, RemotingCommand.request(header), self._timeout_ms)
        return GetMaxOffsetResponseHeader.decode(response.ext_fields).offset

    async def min_offset(self, address: str, queue: MessageQueue) -> int:
        """Oldest offset still kept."""
        header = GetMinOffsetRequestHeader(topic=queue.topic, queue_id=queue.queue_id)
        response = await ask(self._remoting, address, RemotingCommand.request(header), self._timeout_ms)
        return GetMinOffsetResponseHeader.decode(response.ext_fields).offset

    async def search_offset(self, address: str, queue: MessageQueue, timestamp_ms: int) -> int:
        """First offset stored at or after the time."""
        header = SearchOffsetRequestHeader(topic=queue.topic, queue_id=queue.queue_id, timestamp=timestamp_ms)
        response = await ask(self._remoting, address, RemotingCommand.request(header), self._timeout_ms)
        return SearchOffsetResponseHeader.decode(response.ext_fields).offset

    async def send_back(
        self,
        address: str,
        *,
        group: str,
        physical_offset: int,
        delay_level: int,
        origin_msg_id: str,
        origin_topic: str,
        max_reconsume_times: int,
    ) -> None:
        """Ask the broker to deliver a stored message to the group again, later, or to its dead letter topic."""
        header = ConsumerSendMsgBackRequestHeader(
            offset=physical_offset,
            group=group,
            delay_level=delay_level,
            origin_msg_id=origin_msg_id,
            origin_topic=origin_topic,
            unit_mode=False,
            max_reconsume_times=max_reconsume_times,
        )
        await ask(self._remoting, address, RemotingCommand.request(header), self._timeout_ms)

    async def lock(self, address: str, group: str, client_id: str, queues: Iterable[MessageQueue]) -> set[MessageQueue]:
        """Queues this client now holds for orderly consumption; the others belong to somebody else."""
        command = RemotingCommand.request(RequestCode.LOCK_BATCH_MQ, _lock_body(group, client_id, queues))
        response = await ask(self._remoting, address, command, self._timeout_ms)
        granted = json_dialect.decode(response.body).get("lockOKMQSet") or []
        return {json_dialect.convert(item, MessageQueue) for item in granted}

    async def unlock(self, address: str, group: str, client_id: str, queues: Iterable[MessageQueue]) -> None:
        command = RemotingCommand.request(RequestCode.UNLOCK_BATCH_MQ, _lock_body(group, client_id, queues))
        await ask(self._remoting, address, command, self._timeout_ms)


def _lock_body(group: str, client_id: str, queues: Iterable[MessageQueue]) -> bytes:
    return json_dialect.encode(
        {"clientId": client_id, "consumerGroup": group, "mqSet": sorted(queues), "onlyThisBroker": False}
    )
