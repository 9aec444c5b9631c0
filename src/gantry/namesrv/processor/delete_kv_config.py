"""DELETE_KV_CONFIG: remove one key of a namespace."""

from __future__ import annotations

from gantry.errors import BrokerError, DiskError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.delete_kv_config import DeleteKVConfigRequestHeader
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class DeleteKVConfigProcessor:
    """Answers 0 also for a key that is not there; 1 when the file could not be written."""

    def __init__(self, names: NamesrvContext) -> None:
        self._kv_config = names.kv_config

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: DeleteKVConfigRequestHeader
    ) -> RemotingCommand:
        try:
            await self._kv_config.delete(header.namespace, header.key)
        except DiskError as error:
            remark = f"persist kvconfig failed, nothing changed: {error}"
            raise BrokerError(ResponseCode.SYSTEM_ERROR, remark) from error
        return request.reply()
