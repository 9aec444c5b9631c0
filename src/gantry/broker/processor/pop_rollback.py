"""POP_ROLLBACK (200056): gets ready for a broker that keeps its account of pops in another way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class PopRollbackProcessor:
    """The committed offsets are all another broker needs: it delivers again from the first message that is out. They are on
    the disk when this is answered. Source: AdminBrokerProcessor.transferPopToFsStore (5.3), which moves its RocksDB records.
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        self._broker.pop.account.settle()
        await self._broker.offsets.file.flush()
        await self._broker.pop.order_infos.file.flush()
        return request.reply()
