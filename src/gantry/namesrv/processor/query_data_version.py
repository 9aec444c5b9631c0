"""QUERY_DATA_VERSION: a broker asks whether its tables here are its newest, before it sends them again."""

from __future__ import annotations

from gantry.errors import BrokerError, RemoteProtocolError
from gantry.model import DataVersion
from gantry.protocol import json_dialect
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.query_data_version import QueryDataVersionRequestHeader, QueryDataVersionResponseHeader
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class QueryDataVersionProcessor:
    """`changed`, and the version that is stored here as body. The question is a sign of life as well."""

    def __init__(self, names: NamesrvContext) -> None:
        self._routes = names.routes
        self._service = names.service

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: QueryDataVersionRequestHeader) -> RemotingCommand:
        try:
            asked = json_dialect.decode_request(request.body, DataVersion) if request.body else None
        except RemoteProtocolError as error:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"data version cannot be read: {error}") from error
        self._service.heartbeat(header.cluster_name, header.broker_addr)
        stored = self._routes.query_broker_topic_config(header.cluster_name, header.broker_addr)
        return request.reply(
            header=QueryDataVersionResponseHeader(changed=stored is None or stored != asked),
            body=b"" if stored is None else json_dialect.encode(stored),
        )
