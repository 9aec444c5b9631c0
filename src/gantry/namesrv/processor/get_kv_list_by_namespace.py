"""GET_KVLIST_BY_NAMESPACE: all keys of a namespace."""

from __future__ import annotations

from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.route import KVTable
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_kv_list_by_namespace import GetKVListByNamespaceRequestHeader
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class GetKVListByNamespaceProcessor:
    """22 for a namespace that was never written to; one whose keys were all removed answers an empty table."""

    def __init__(self, names: NamesrvContext) -> None:
        self._kv_config = names.kv_config

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetKVListByNamespaceRequestHeader
    ) -> RemotingCommand:
        table = self._kv_config.list_by_namespace(header.namespace)
        if table is None:
            return request.reply(ResponseCode.QUERY_NOT_FOUND, f"No config item, Namespace: {header.namespace}")
        return request.reply(body=json_dialect.encode(KVTable(table)))
