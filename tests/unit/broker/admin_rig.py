"""The broker rig with what administration needs: several clients, and requests with JSON both ways."""

from __future__ import annotations

from typing import Any

from gantry.model import ConsumerData, HeartbeatData, ProducerData, SubscriptionData
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.heartbeat import encode_heartbeat
from gantry.protocol.remoting.codes import LanguageCode, RequestCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.base import RequestHeader
from gantry.runtime.channel import Channel
from gantry.runtime.remoting_client import RemotingClient
from gantry.runtime.request_table import RequestContext, RequestTable
from gantry.testing import MemoryDisk, settle
from tests.unit.broker.broker_rig import BrokerRig


class Peer:
    """One client's connection to the broker. `asked` are the requests the broker sent to it, in order.

    `answers` says what it answers to a request code of the broker's.
    """

    def __init__(self, rig: AdminRig, client_id: str) -> None:
        self.rig = rig
        self.client_id = client_id
        self.asked: list[RemotingCommand] = []
        self.answers: dict[int, RemotingCommand] = {}
        table = RequestTable()
        for code in RequestCode:
            table.add(code, None, self._serve)
        self.client = RemotingClient(rig.net, rig.clock, requests=table)

    def _serve(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand | None:
        self.asked.append(request)
        prepared = self.answers.get(int(request.code))
        if prepared is None:
            return None
        answer = request.reply(prepared.code, prepared.remark, body=prepared.body)
        answer.ext_fields = prepared.ext_fields
        return answer

    async def channel(self) -> Channel:
        return await self.client.connect(self.rig.address)

    async def ask(self, command: RemotingCommand, timeout_ms: float = 3_000) -> RemotingCommand:
        answer = await (await self.channel()).invoke(command, timeout_ms)
        await settle()
        return answer

    async def beat(
        self,
        *,
        consumers: dict[str, list[str]] | None = None,
        producers: tuple[str, ...] = (),
        language: int = LanguageCode.JAVA,
        version: int = 513,
        **values: Any,
    ) -> RemotingCommand:
        """A heartbeat: consumer groups with their topics, and producer groups."""
        data = HeartbeatData(
            client_id=self.client_id,
            producer_data_set=[ProducerData(group) for group in producers],
            consumer_data_set=[
                ConsumerData(
                    group_name=group,
                    subscription_data_set=[SubscriptionData(topic=topic, sub_version=1) for topic in topics],
                )
                for group, topics in (consumers or {}).items()
            ],
            **values,
        )
        command = RemotingCommand(RequestCode.HEART_BEAT, language=language, version=version, body=encode_heartbeat(data))
        return await self.ask(command)

    async def leave(self) -> None:
        await self.client.close()
        await settle()


class AdminRig(BrokerRig):
    """A broker with several clients of names and minds of their own, and requests with JSON both ways."""

    def __init__(self, disk: MemoryDisk | None = None, **settings: Any) -> None:
        super().__init__(disk, **settings)
        self._peers: list[Peer] = []

    async def __aexit__(self, *exc: object) -> None:
        for peer in self._peers:
            await peer.client.close()
        await super().__aexit__(*exc)

    def peer(self, client_id: str = "192.0.2.9@1") -> Peer:
        peer = Peer(self, client_id)
        self._peers.append(peer)
        return peer

    async def ask_json(self, request: RequestHeader | int, value: Any = None) -> Any:
        """A request that succeeds, and its answer's body."""
        command = RemotingCommand.request(request, b"" if value is None else json_dialect.encode(value))
        answer = await self.ask(command)
        assert answer.code == 0, answer
        return json_dialect.decode(answer.body) if answer.body else None

    async def store(self, topic: str, count: int = 1, *, queue_id: int = 0, **properties: str) -> list[RemotingCommand]:
        """Messages stored one after the other through the broker's door; the answers."""
        answers = [await self.send(topic, b"x", queue_id=queue_id, properties=dict(properties)) for _ in range(count)]
        assert all(answer.code == 0 for answer in answers), answers
        return answers
