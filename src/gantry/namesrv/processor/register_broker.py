"""REGISTER_BROKER: a broker tells of itself and its topics; at its start, on change, and every 30 s."""

from __future__ import annotations

import logging

from gantry.errors import BrokerError, RemoteProtocolError
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.register_broker_body import (
    RegisterBrokerBody,
    body_crc32,
    decode_register_broker_body,
)
from gantry.protocol.remoting.body.route import KVTable
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.register_broker import RegisterBrokerRequestHeader, RegisterBrokerResponseHeader
from gantry.runtime.remoting_server import RequestContext

from ..broker_live import BrokerRegistration
from ..context import NamesrvContext
from ..kv_config_manager import NAMESPACE_ORDER_TOPIC_CONFIG
from ..zone_filter import ZONE_NAME

log = logging.getLogger(__name__)


class RegisterBrokerProcessor:
    """1 for a body that does not match its checksum or cannot be read, and for a single topic before a full list.

    A slave is told the addresses of its live master. The body of the answer is the order configuration of all topics.
    """

    def __init__(self, names: NamesrvContext) -> None:
        self._config = names.config
        self._service = names.service
        self._kv_config = names.kv_config

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: RegisterBrokerRequestHeader) -> RemotingCommand:
        if header.body_crc32 and header.body_crc32 != body_crc32(request.body):
            log.warning("receive registerBroker request, crc32 not match, from %s", ctx.channel.remote_address)
            return request.reply(ResponseCode.SYSTEM_ERROR, "crc32 not match")
        body = _decode(request)
        wrapper = body.topic_config_serialize_wrapper
        result = self._service.register(
            BrokerRegistration(
                cluster_name=header.cluster_name,
                broker_addr=header.broker_addr,
                broker_name=header.broker_name,
                broker_id=header.broker_id,
                ha_server_addr=header.ha_server_addr,
                data_version=wrapper.data_version,
                topics=wrapper.topic_config_table,
                zone_name=request.field(ZONE_NAME),
                heartbeat_timeout_ms=header.heartbeat_timeout_millis,
                enable_acting_master=header.enable_acting_master,
                topic_queue_mapping_infos={
                    topic: info for topic, info in wrapper.topic_queue_mapping_info_map.items() if isinstance(info, dict)
                },
                filter_servers=body.filter_server_list,
                channel_id=ctx.channel.id,
            )
        )
        if not result.accepted:
            return request.reply(ResponseCode.SYSTEM_ERROR, "register broker failed")
        return request.reply(
            header=RegisterBrokerResponseHeader(ha_server_addr=result.ha_server_addr, master_addr=result.master_addr),
            body=self._order_topic_config(),
        )

    def _order_topic_config(self) -> bytes:
        if not self._config.return_order_topic_config_to_broker:
            return b""
        table = self._kv_config.list_by_namespace(NAMESPACE_ORDER_TOPIC_CONFIG)
        return b"" if table is None else json_dialect.encode(KVTable(table))


def _decode(request: RemotingCommand) -> RegisterBrokerBody:
    try:
        return decode_register_broker_body(request.body, version=request.version)
    except RemoteProtocolError as error:
        raise BrokerError(ResponseCode.SYSTEM_ERROR, f"Failed to decode RegisterBrokerBody: {error}") from error
