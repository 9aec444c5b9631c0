"""What this broker asks of others: name servers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gantry.errors import BrokerError, MQError
from gantry.model import DataVersion, TopicConfig
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.register_broker_body import RegisterBrokerBody, body_crc32, encode_register_broker_body
from gantry.protocol.remoting.body.topic_config import TopicConfigWrapper
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.query_data_version import QueryDataVersionRequestHeader, QueryDataVersionResponseHeader
from gantry.protocol.remoting.header.register_broker import RegisterBrokerRequestHeader
from gantry.protocol.remoting.header.unregister_broker import UnregisterBrokerRequestHeader
from gantry.runtime.remoting_client import RemotingClient

if TYPE_CHECKING:
    from .config import BrokerConfig

log = logging.getLogger(__name__)

UNREGISTER_TIMEOUT_MS = 3000
QUERY_TIMEOUT_MS = 3000


class BrokerOuterAPI:
    """Calls to name servers. Every call goes to all of them side by side; one that fails is logged and does not
    hold up the others. Source: BrokerOuterAPI (5.3).
    """

    def __init__(self, config: BrokerConfig, client: RemotingClient, *, name_servers: Callable[[], list[str]]) -> None:
        self._config = config
        self._client = client
        self.address = ""
        """What clients are told to connect to; "ip:port", known once the port is open."""
        self.ha_address = ""
        self.name_servers = name_servers
        """The name servers known now, "ip:port" each."""

    async def register_broker_all(
        self, topics: Iterable[TopicConfig], data_version: DataVersion, servers: Iterable[str] | None = None
    ) -> dict[str, set[str]]:
        """Registers these topics; the ordered topics each name server that accepted has, by its address."""
        config = self._config
        wrapper = TopicConfigWrapper(
            topic_config_table={topic.topic_name: topic for topic in topics}, data_version=data_version
        )
        body = encode_register_broker_body(RegisterBrokerBody(wrapper, []), compressed=config.compressed_register)
        header = RegisterBrokerRequestHeader(
            broker_name=config.broker_name,
            broker_addr=self.address,
            cluster_name=config.broker_cluster_name,
            ha_server_addr=self.ha_address,
            broker_id=config.broker_id,
            enable_acting_master=False,
            compressed=config.compressed_register,
            body_crc32=body_crc32(body),
        )
        targets = list(self.name_servers() if servers is None else servers)
        answers = await asyncio.gather(*(self._register(server, header, body) for server in targets))
        return {server: answer for server, answer in zip(targets, answers, strict=True) if answer is not None}

    async def unregister_broker_all(self) -> None:
        """Tells every name server that this broker goes."""
        config = self._config
        header = UnregisterBrokerRequestHeader(
            broker_name=config.broker_name,
            broker_addr=self.address,
            cluster_name=config.broker_cluster_name,
            broker_id=config.broker_id,
        )
        await asyncio.gather(*(self._unregister(server, header) for server in self.name_servers()))

    async def servers_behind(self, data_version: DataVersion) -> list[str]:
        """The name servers that do not have the newest tables; asking also tells them that this broker lives."""
        servers = self.name_servers()
        behind = await asyncio.gather(*(self._is_behind(server, data_version) for server in servers))
        return [server for server, changed in zip(servers, behind, strict=True) if changed]

    async def _register(self, server: str, header: RegisterBrokerRequestHeader, body: bytes) -> set[str] | None:
        try:
            response = await self._invoke(
                server, RemotingCommand.request(header, body), self._config.register_broker_timeout_mills
            )
            table = json_dialect.decode(response.body).get("table") if response.body else None
        except (MQError, AttributeError) as error:
            log.error("Failed to register current broker to name server. TargetHost=%s: %s", server, error)
            return None
        log.debug("Registering current broker to name server completed. TargetHost=%s", server)
        return set(table or ())

    async def _unregister(self, server: str, header: UnregisterBrokerRequestHeader) -> None:
        try:
            await self._invoke(server, RemotingCommand.request(header), UNREGISTER_TIMEOUT_MS)
            log.info("unregisterBroker OK, NamesrvAddr: %s", server)
        except MQError as error:
            log.warning("unregisterBroker Exception, NamesrvAddr: %s: %s", server, error)

    async def _is_behind(self, server: str, data_version: DataVersion) -> bool:
        config = self._config
        header = QueryDataVersionRequestHeader(
            broker_name=config.broker_name,
            broker_addr=self.address,
            cluster_name=config.broker_cluster_name,
            broker_id=config.broker_id,
        )
        try:
            response = await self._invoke(
                server, RemotingCommand.request(header, json_dialect.encode(data_version)), QUERY_TIMEOUT_MS
            )
            return QueryDataVersionResponseHeader.decode(response.ext_fields).changed
        except MQError as error:
            log.warning("query data version of name server %s failed, registering in full: %s", server, error)
            return True

    async def _invoke(self, server: str, request: RemotingCommand, timeout_ms: float) -> RemotingCommand:
        response = await self._client.invoke(server, request, timeout_ms)
        if response.code != ResponseCode.SUCCESS:
            raise BrokerError(response.code, response.remark or "", address=server)
        return response
