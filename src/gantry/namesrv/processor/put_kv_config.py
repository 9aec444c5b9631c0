"""PUT_KV_CONFIG: set one key of a namespace."""

from __future__ import annotations

from gantry.errors import BrokerError, DiskError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.put_kv_config import PutKVConfigRequestHeader
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class PutKVConfigProcessor:
    """Answers when the value is on the disk; 1 when it could not be written."""

    def __init__(self, names: NamesrvContext) -> None:
        self._kv_config = names.kv_config

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: PutKVConfigRequestHeader
    ) -> RemotingCommand:
        try:
            await self._kv_config.put(header.namespace, header.key, header.value)
        except DiskError as error:
            remark = f"persist kvconfig failed, nothing changed: {error}"
            raise BrokerError(ResponseCode.SYSTEM_ERROR, remark) from error
        return request.reply()
