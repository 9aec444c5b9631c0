"""QUERY_MESSAGE (12): messages of a topic by key, by unique key or by tag."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.frame import FRAME_BYTES_MAX
from gantry.protocol.remoting.header.query_message import QueryMessageRequestHeader, QueryMessageResponseHeader

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)

UNIQUE_KEY_QUERY = "_UNIQUE_KEY_QUERY"
INDEX_OF_TAGS = "T"
BODY_BYTES_MAX = FRAME_BYTES_MAX - 65_536
"""An answer that does not fit a frame is no answer: what is beyond is left out."""


class QueryMessageProcessor:
    """The answer says how far the index has come, also when nothing was found (22).

    Source: QueryMessageProcessor.queryMessage (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: QueryMessageRequestHeader
    ) -> RemotingCommand:
        broker, count, key = self._broker, header.max_num, header.key
        if (request.field(UNIQUE_KEY_QUERY) or "").lower() == "true":
            count = broker.config.default_query_max_num
        elif header.index_type == INDEX_OF_TAGS:
            key = f"{INDEX_OF_TAGS}#{key}"
        result = await broker.store.query_by_key(header.topic, key, count, header.begin_timestamp, header.end_timestamp)
        answer = QueryMessageResponseHeader(
            index_last_update_timestamp=result.index_last_update_timestamp,
            index_last_update_phyoffset=result.index_last_update_phyoffset,
        )
        records: list[bytes] = []
        size = 0
        for record in result.records:
            size += len(record)
            if size > BODY_BYTES_MAX:
                log.warning("query in %s: %d records found, %d fit", header.topic, len(result.records), len(records))
                break
            records.append(record)
        if not records:
            remark = "can not find message, maybe time range not correct"
            return request.reply(ResponseCode.QUERY_NOT_FOUND, remark, answer)
        return request.reply(header=answer, body=b"".join(records))
