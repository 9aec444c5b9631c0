"""GET_KV_CONFIG: read one key of a namespace."""

from __future__ import annotations

from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_kv_config import GetKVConfigRequestHeader, GetKVConfigResponseHeader
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class GetKVConfigProcessor:
    """22 when the key is not there."""

    def __init__(self, names: NamesrvContext) -> None:
        self._kv_config = names.kv_config

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: GetKVConfigRequestHeader) -> RemotingCommand:
        value = self._kv_config.get(header.namespace, header.key)
        if value is None:
            return request.reply(
                ResponseCode.QUERY_NOT_FOUND, f"No config item, Namespace: {header.namespace} Key: {header.key}"
            )
        return request.reply(header=GetKVConfigResponseHeader(value=value))
