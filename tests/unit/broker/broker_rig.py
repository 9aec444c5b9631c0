"""A whole broker in memory, on a clock that stands still, with a client to ask it."""

from __future__ import annotations

from typing import Any, Self

from gantry.broker import BrokerConfig, BrokerController
from gantry.model import Message, MessageExt, sys_flag
from gantry.model.heartbeat import CLUSTERING, CONSUME_PASSIVELY, ConsumerData, HeartbeatData, SubscriptionData
from gantry.protocol import json_dialect
from gantry.protocol.filter import build_subscription
from gantry.protocol.message.batch import BatchElement, encode_batch
from gantry.protocol.message.properties import encode_properties
from gantry.protocol.message.record import decode_records
from gantry.protocol.remoting.codes import CURRENT_VERSION, RequestCode
from gantry.protocol.remoting.command import SERIALIZE_JSON, RemotingCommand
from gantry.protocol.remoting.header.base import RequestHeader
from gantry.protocol.remoting.header.pull_message import PullMessageRequestHeader
from gantry.protocol.remoting.header.query_consumer_offset import QueryConsumerOffsetRequestHeader
from gantry.protocol.remoting.header.send_message import SendMessageRequestHeader
from gantry.protocol.remoting.header.send_message_v2 import SendMessageRequestHeaderV2
from gantry.runtime.remoting_client import RemotingClient
from gantry.testing import MemoryDisk, MemoryNet, SeededRng, VirtualClock, settle

ROOT = "/store"
PRODUCER_GROUP = "producers"
GROUP = "consumers"


def small_store(**settings: Any) -> BrokerConfig:
    """Settings with small files, so that a broker in memory is cheap and rolls soon."""
    values: dict[str, Any] = {
        "store_path_root_dir": ROOT,
        "broker_name": "broker-a",
        "broker_ip1": "127.0.0.1",
        "broker_ip2": "127.0.0.1",
        "mapped_file_size_commit_log": 1 << 20,
        "mapped_file_size_consume_queue": 6000,
        "mapped_file_size_timer_log": 1 << 16,
        "max_hash_slot_num": 100,
        "max_index_num": 400,
        "prefault_window_bytes": 0,
        "hot_tail_bytes_max": 1 << 16,
    }
    values.update(settings)
    return BrokerConfig(**values)


class BrokerRig:
    """Start it with `async with`; a second rig over the same disk is a restart."""

    def __init__(
        self,
        disk: MemoryDisk | None = None,
        *,
        clock: VirtualClock | None = None,
        net: MemoryNet | None = None,
        **settings: Any,
    ) -> None:
        self.clock = clock or VirtualClock()
        self.net = net or MemoryNet(self.clock)
        self.disk = disk or MemoryDisk(clock=self.clock)
        self.config = small_store(**settings)
        self.controller = BrokerController(self.config, net=self.net, clock=self.clock, disk=self.disk, rng=SeededRng(1))
        self.client = RemotingClient(self.net, self.clock)
        self.context = self.controller.context

    async def __aenter__(self) -> Self:
        await self.controller.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.close()
        await self.controller.stop()
        await settle()

    @property
    def address(self) -> str:
        return self.controller.address

    async def ask(
        self,
        request: RequestHeader | RemotingCommand,
        body: bytes = b"",
        *,
        version: int = CURRENT_VERSION,
        client: RemotingClient | None = None,
    ) -> RemotingCommand:
        """One request and its answer; the clock is not moved."""
        command = request if isinstance(request, RemotingCommand) else RemotingCommand.request(request, body)
        command.version = version
        return await (client or self.client).invoke(self.address, command, 30_000)

    async def send(self, topic: str, body: bytes = b"x", **fields: Any) -> RemotingCommand:
        """One message, as the Java client sends it."""
        return await self.ask(send_request(topic, body, **fields))

    async def pull(self, topic: str, queue_id: int = 0, offset: int = 0, **fields: Any) -> RemotingCommand:
        return await self.ask(pull_request(topic, queue_id, offset, **fields))

    async def messages(self, topic: str, queue_id: int = 0, offset: int = 0) -> list[MessageExt]:
        """Everything in a queue from an offset on."""
        found: list[MessageExt] = []
        while True:
            answer = await self.pull(topic, queue_id, offset)
            if answer.code != 0:
                return found
            found += decode_records(answer.body)
            offset = int(answer.ext_fields["nextBeginOffset"])  # type: ignore[index]

    async def heartbeat(
        self, *topics: str, group: str = GROUP, expression: str = "*", client: RemotingClient | None = None, **values: Any
    ) -> RemotingCommand:
        """Joins a group as a push consumer."""
        kind, version = values.pop("expression_type", "TAG"), values.pop("sub_version", 1)
        subscriptions: list[SubscriptionData] = [
            build_subscription(topic, expression, kind, sub_version=version) for topic in topics
        ]
        data = HeartbeatData(
            client_id=values.pop("client_id", "client-1"),
            consumer_data_set=[
                ConsumerData(
                    group_name=group,
                    consume_type=values.pop("consume_type", CONSUME_PASSIVELY),
                    message_model=values.pop("message_model", CLUSTERING),
                    subscription_data_set=subscriptions,
                )
            ],
        )
        return await self.ask(RemotingCommand.request(RequestCode.HEART_BEAT, json_dialect.encode(data)), client=client)

    async def query_offset(self, topic: str, queue_id: int = 0, group: str = GROUP, **fields: Any) -> RemotingCommand:
        return await self.ask(QueryConsumerOffsetRequestHeader(consumer_group=group, topic=topic, queue_id=queue_id, **fields))


def send_request(
    topic: str,
    body: bytes = b"x",
    *,
    queue_id: int = 0,
    properties: dict[str, str] | None = None,
    unique_key: str | None = "AC10000100002A9F4E0E2F2A68AA0001",
    v1: bool = False,
    oneway: bool = False,
    serialize_type: int = SERIALIZE_JSON,
    batch: list[Message] | None = None,
    **fields: Any,
) -> RemotingCommand:
    values = dict(properties or {})
    if unique_key is not None:
        values.setdefault("UNIQ_KEY", unique_key)
    header = SendMessageRequestHeader(
        producer_group=fields.pop("producer_group", PRODUCER_GROUP),
        topic=topic,
        default_topic=fields.pop("default_topic", "TBW102"),
        default_topic_queue_nums=fields.pop("default_topic_queue_nums", 4),
        queue_id=queue_id,
        sys_flag=fields.pop("sys_flag", 0),
        born_timestamp=fields.pop("born_timestamp", 1_700_000_000_000),
        flag=fields.pop("flag", 0),
        properties=encode_properties(values).decode(),
        reconsume_times=fields.pop("reconsume_times", 0),
        unit_mode=fields.pop("unit_mode", False),
        batch=batch is not None,
        max_reconsume_times=fields.pop("max_reconsume_times", None),
    )
    assert not fields, fields
    if batch is not None:
        body = encode_batch(BatchElement(m.flag, m.body, encode_properties(m.properties)) for m in batch)
    command = RemotingCommand.request(header if v1 else SendMessageRequestHeaderV2.from_v1(header, "broker-a"), body)
    if batch is not None:
        command.code = RequestCode.SEND_BATCH_MESSAGE
    command.serialize_type = serialize_type
    if oneway:
        command.mark_oneway()
    return command


def pull_request(
    topic: str,
    queue_id: int = 0,
    offset: int = 0,
    *,
    group: str = GROUP,
    expression: str | None = "*",
    suspend_ms: int = 0,
    commit: int | None = None,
    count: int = 32,
    lite: bool = False,
    **fields: Any,
) -> RemotingCommand:
    """A pull that carries its own subscription, unless `expression` is None."""
    flags = 0
    if expression is not None:
        flags |= sys_flag.PULL_SUBSCRIPTION
    if suspend_ms:
        flags |= sys_flag.PULL_SUSPEND
    if commit is not None:
        flags |= sys_flag.PULL_COMMIT_OFFSET
    command = RemotingCommand.request(
        PullMessageRequestHeader(
            consumer_group=group,
            topic=topic,
            queue_id=queue_id,
            queue_offset=offset,
            max_msg_nums=count,
            sys_flag=flags,
            commit_offset=commit if commit is not None else 0,
            suspend_timeout_millis=suspend_ms,
            subscription=expression,
            sub_version=fields.pop("sub_version", 0),
            expression_type=fields.pop("expression_type", "TAG"),
            **fields,
        )
    )
    if lite:
        command.code = RequestCode.LITE_PULL_MESSAGE
    return command
