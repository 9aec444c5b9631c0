"""A name server and two brokers in a dictionary: enough of their answers for clients, without a network.

It speaks in RemotingCommands, so requests really are encoded and answers really are decoded. Its answers are those the
real servers give; tests/e2e and tests/interop run the same clients against those.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from gantry.errors import RemotingConnectError, RemotingTimeout
from gantry.model import BrokerData, HeartbeatData, MessageQueue, QueueData, StoreMessage, TopicRouteData
from gantry.protocol import json_dialect
from gantry.protocol.message import decode_batch, decode_record, encode_record, offset_msg_id
from gantry.protocol.remoting import RemotingCommand, RequestCode, ResponseCode
from gantry.protocol.remoting.header.consumer_send_msg_back import ConsumerSendMsgBackRequestHeader
from gantry.protocol.remoting.header.pull_message import PullMessageRequestHeader, PullMessageResponseHeader
from gantry.protocol.remoting.header.send_message import SendMessageResponseHeader
from gantry.protocol.remoting.header.send_message_v2 import SendMessageRequestHeaderV2
from gantry.testing import VirtualClock

NAME_SERVER = "10.0.0.1:9876"
BROKERS = {"10.0.0.2:10911": "broker-a", "10.0.0.3:10911": "broker-b"}
LATENCY_MS = 1


async def drive(clock: VirtualClock, awaitable: Any, *, ms: int = 60_000) -> Any:
    """Await something while virtual time passes, a millisecond at a time."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(ms):
        if task.done():
            break
        await clock.run_ms(1)
    assert task.done(), f"not done after {ms} virtual ms"
    return task.result()


class FakeCluster:
    """Satisfies gantry.client.remoting.Remoting. Every request is kept in `requests`."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.requests: list[tuple[str, RemotingCommand]] = []
        self.topics: dict[str, int] = {}  # topic -> queues per broker
        self.auto_create = False
        self.down: set[str] = set()
        self.silent: set[str] = set()
        self.refuse: dict[tuple[str, int], tuple[int, str]] = {}  # (address, request code) -> answer
        self.records: dict[MessageQueue, list[bytes]] = defaultdict(list)
        self.first_offset: dict[MessageQueue, int] = defaultdict(int)
        self.offsets: dict[tuple[str, MessageQueue], int] = {}
        self.members: dict[str, list[str]] = defaultdict(list)  # group -> client ids
        self.heartbeats: list[tuple[str, HeartbeatData]] = []
        self.locks: dict[MessageQueue, str] = {}
        self.sent_back: list[ConsumerSendMsgBackRequestHeader] = []
        self.unregistered: list[str] = []
        self.stored_code: dict[str, int] = {}  # broker name -> answer to sends that are stored all the same
        self.hold_extra_ms = 0  # how much longer than asked for a pull is held
        self._physical = 0
        self._arrival = asyncio.Event()

    # --- what tests do

    def put(self, queue: MessageQueue, body: bytes, properties: bytes = b"") -> None:
        """A message somebody else sent."""
        message = StoreMessage(
            topic=queue.topic, queue_id=queue.queue_id, body=body, properties=properties,
            born_host=("10.9.9.9", 1), store_host=("10.0.0.2", 10911),
        )  # fmt: skip
        self._append(queue, message)

    def codes(self, address: str | None = None) -> list[int]:
        return [command.code for to, command in self.requests if address in (None, to)]

    def bodies(self, topic: str) -> list[bytes]:
        return [decode_record(r).body for q in sorted(self.records) if q.topic == topic for r in self.records[q]]

    # --- Remoting

    async def invoke(self, address: str, command: RemotingCommand, timeout_ms: float) -> RemotingCommand:
        self.requests.append((address, command))
        await self.clock.sleep_ms(LATENCY_MS)
        if address in self.down:
            raise RemotingConnectError(f"connect to {address} failed: it is down")
        if address in self.silent:
            await self.clock.sleep_ms(timeout_ms - LATENCY_MS)
            raise RemotingTimeout(f"no answer from {address} within {timeout_ms} ms")
        refusal = self.refuse.get((address, command.code))
        if refusal is not None:
            return command.reply(*refusal)
        if address == NAME_SERVER:
            return self._route(command)
        handler: Callable[[str, RemotingCommand], RemotingCommand] = _HANDLERS[RequestCode(command.code)].__get__(self)
        if command.code == RequestCode.PULL_MESSAGE:
            return await self._pull(BROKERS[address], command)
        return handler(BROKERS[address], command)

    async def invoke_oneway(self, address: str, command: RemotingCommand) -> None:
        if address in self.down:
            raise RemotingConnectError(f"connect to {address} failed: it is down")
        self.requests.append((address, command))
        _HANDLERS[RequestCode(command.code)].__get__(self)(BROKERS[address], command)

    # --- answers

    def _route(self, command: RemotingCommand) -> RemotingCommand:
        topic = command.field("topic") or ""
        count = 8 if topic == "TBW102" and self.auto_create else self.topics.get(topic)
        if count is None:
            return command.reply(ResponseCode.TOPIC_NOT_EXIST, f"No topic route info in name server for the topic: {topic}")
        perm = 7 if topic == "TBW102" else 6
        route = TopicRouteData(
            queue_datas=[QueueData(name, count, count, perm, 0) for name in BROKERS.values()],
            broker_datas=[BrokerData("DefaultCluster", name, {0: address}) for address, name in BROKERS.items()],
        )
        return command.reply(body=json_dialect.encode(route, quote_integer_keys=True))

    def _send(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        header = SendMessageRequestHeaderV2.decode(command.ext_fields)
        topic = header.b
        if topic.startswith("%RETRY%") and (header.j or 0) > (header.l or 16):
            topic = topic.replace("%RETRY%", "%DLQ%")
        self.topics.setdefault(topic, header.d)
        queue = MessageQueue(topic, broker, header.e)
        if header.m:
            elements = [(e.flag, e.body, e.properties) for e in decode_batch(command.body)]
        else:
            elements = [(header.h, command.body, (header.i or "").encode())]
        first, ids = self.first_offset[queue] + len(self.records[queue]), []
        for flag, body, properties in elements:
            message = StoreMessage(
                topic=queue.topic, queue_id=queue.queue_id, body=body, properties=properties, flag=flag,
                sys_flag=header.f, born_timestamp=header.g, born_host=("10.9.9.9", 1), store_host=("10.0.0.2", 10911),
                reconsume_times=header.j or 0,
            )  # fmt: skip
            ids.append(offset_msg_id(("10.0.0.2", 10911), self._append(queue, message)))
        answer = SendMessageResponseHeader(msg_id=",".join(ids), queue_id=queue.queue_id, queue_offset=first)
        reply = command.reply(self.stored_code.get(broker, 0), header=answer)
        reply.ext_fields = {**(reply.ext_fields or {}), "MSG_REGION": "DefaultRegion", "TRACE_ON": "true"}
        return reply

    def _append(self, queue: MessageQueue, message: StoreMessage) -> int:
        offset = self.first_offset[queue] + len(self.records[queue])
        physical = self._physical
        record = encode_record(message, queue_offset=offset, physical_offset=physical, store_timestamp=self.clock.now_ms())
        self._physical += len(record)
        self.records[queue].append(record)
        self._arrival.set()
        return physical

    async def _pull(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        header = PullMessageRequestHeader.decode(command.ext_fields)
        queue = MessageQueue(header.topic, broker, header.queue_id)
        deadline = self.clock.monotonic_ms() + (
            header.suspend_timeout_millis + self.hold_extra_ms if header.sys_flag & 2 else 0
        )
        while header.queue_offset >= self.first_offset[queue] + len(self.records[queue]):
            left_ms = deadline - self.clock.monotonic_ms()
            if left_ms <= 0 or header.queue_offset > self.first_offset[queue] + len(self.records[queue]):
                break
            self._arrival.clear()
            timer = self.clock.call_later(left_ms, self._arrival.set)
            await self._arrival.wait()
            timer.cancel()
        low, high = self.first_offset[queue], self.first_offset[queue] + len(self.records[queue])
        at = header.queue_offset
        if at < low or at > high:
            code, next_offset, body = ResponseCode.PULL_OFFSET_MOVED, low if at < low else high, b""
        elif at == high:
            code, next_offset, body = ResponseCode.PULL_NOT_FOUND, at, b""
        else:
            records = self.records[queue][at - low : at - low + header.max_msg_nums]
            code, next_offset, body = ResponseCode.SUCCESS, at + len(records), b"".join(records)
        answer = PullMessageResponseHeader(
            suggest_which_broker_id=0, next_begin_offset=next_offset, min_offset=low, max_offset=high
        )
        return command.reply(code, header=answer, body=body)

    def _heartbeat(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        data = json_dialect.decode_as(command.body, HeartbeatData)
        self.heartbeats.append((broker, data))
        for consumer in data.consumer_data_set:
            if data.client_id not in self.members[consumer.group_name]:
                self.members[consumer.group_name].append(data.client_id)
            self.topics.setdefault(f"%RETRY%{consumer.group_name}", 1)
        return command.reply()

    def _unregister(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        client_id, group = command.field("clientID") or "", command.field("consumerGroup") or ""
        self.unregistered.append(client_id)
        if client_id in self.members[group]:
            self.members[group].remove(client_id)
        return command.reply()

    def _consumer_ids(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        ids = self.members[command.field("consumerGroup") or ""]
        if not ids:
            return command.reply(ResponseCode.SYSTEM_ERROR, "no consumer for this group")
        return command.reply(body=json_dialect.encode({"consumerIdList": ids}))

    def _key(self, broker: str, command: RemotingCommand) -> tuple[str, MessageQueue]:
        queue = MessageQueue(command.field("topic") or "", broker, int(command.field("queueId") or 0))
        return command.field("consumerGroup") or "", queue

    def _offset(self, command: RemotingCommand, offset: int) -> RemotingCommand:
        reply = command.reply()
        reply.ext_fields = {"offset": str(offset)}
        return reply

    def _query_offset(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        offset = self.offsets.get(self._key(broker, command))
        if offset is None:
            return command.reply(ResponseCode.QUERY_NOT_FOUND, "Not found, maybe this group consumer boot first")
        return self._offset(command, offset)

    def _update_offset(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        self.offsets[self._key(broker, command)] = int(command.field("commitOffset") or 0)
        return command.reply()

    def _max_offset(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        queue = self._key(broker, command)[1]
        return self._offset(command, self.first_offset[queue] + len(self.records[queue]))

    def _min_offset(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        return self._offset(command, self.first_offset[self._key(broker, command)[1]])

    def _lock(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        body = json_dialect.decode(command.body)
        queues = [json_dialect.convert(item, MessageQueue) for item in body["mqSet"]]
        granted = [queue for queue in queues if self.locks.setdefault(queue, body["clientId"]) == body["clientId"]]
        return command.reply(body=json_dialect.encode({"lockOKMQSet": granted}))

    def _unlock(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        body = json_dialect.decode(command.body)
        for item in body["mqSet"]:
            queue = json_dialect.convert(item, MessageQueue)
            if self.locks.get(queue) == body["clientId"]:
                del self.locks[queue]
        return command.reply()

    def _send_back(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        self.sent_back.append(ConsumerSendMsgBackRequestHeader.decode(command.ext_fields))
        return command.reply()


_HANDLERS: dict[RequestCode, Callable[[FakeCluster, str, RemotingCommand], RemotingCommand]] = {
    RequestCode.SEND_MESSAGE_V2: FakeCluster._send,
    RequestCode.SEND_BATCH_MESSAGE: FakeCluster._send,
    RequestCode.PULL_MESSAGE: FakeCluster._send,  # never called: pulls can wait and are awaited
    RequestCode.HEART_BEAT: FakeCluster._heartbeat,
    RequestCode.CHECK_CLIENT_CONFIG: lambda self, broker, command: command.reply(),
    RequestCode.UNREGISTER_CLIENT: FakeCluster._unregister,
    RequestCode.GET_CONSUMER_LIST_BY_GROUP: FakeCluster._consumer_ids,
    RequestCode.QUERY_CONSUMER_OFFSET: FakeCluster._query_offset,
    RequestCode.UPDATE_CONSUMER_OFFSET: FakeCluster._update_offset,
    RequestCode.GET_MAX_OFFSET: FakeCluster._max_offset,
    RequestCode.GET_MIN_OFFSET: FakeCluster._min_offset,
    RequestCode.LOCK_BATCH_MQ: FakeCluster._lock,
    RequestCode.UNLOCK_BATCH_MQ: FakeCluster._unlock,
    RequestCode.CONSUMER_SEND_MSG_BACK: FakeCluster._send_back,
}
