"""SEARCH_OFFSET_BY_TIMESTAMP: which message of a queue was stored at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.search_offset import SearchOffsetRequestHeader, SearchOffsetResponseHeader
from gantry.runtime.remoting_server import RequestContext
from gantry.store import BoundaryType

if TYPE_CHECKING:
    from ..context import BrokerContext


class SearchOffsetProcessor:
    """`boundaryType` upper takes the last message at or before the time, anything else the first at or after it.

    Source: AdminBrokerProcessor.searchOffsetByTimestamp, BoundaryType.getType (5.3).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: SearchOffsetRequestHeader
    ) -> RemotingCommand:
        upper = (header.boundary_type or "").lower() == BoundaryType.UPPER.value
        offset = await self._broker.store.search_offset_by_time(
            header.topic, header.queue_id, header.timestamp, BoundaryType.UPPER if upper else BoundaryType.LOWER
        )
        return request.reply(header=SearchOffsetResponseHeader(offset=offset))
