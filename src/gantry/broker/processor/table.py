"""The one table: request code -> header schema -> processor, and which port offers it.

To add a request: a header file in `gantry.protocol.remoting.header`, a processor file here, one row below.

A processor is a class made from the `BrokerContext`; calling the instance answers one request:

    class GetMinOffsetProcessor:
        def __init__(self, broker: BrokerContext) -> None: ...
        def __call__(self, ctx: RequestContext, request: RemotingCommand, header: GetMinOffsetRequestHeader)
            -> RemotingCommand | None | Awaitable[RemotingCommand | None]: ...

Return None to answer later (`ctx.reply_later`) or never; raise `BrokerError(code, remark)` to refuse.
A class named in several rows is made once and shared by them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.consumer_send_msg_back import ConsumerSendMsgBackRequestHeader
from gantry.protocol.remoting.header.get_earliest_msg_storetime import GetEarliestMsgStoretimeRequestHeader
from gantry.protocol.remoting.header.get_max_offset import GetMaxOffsetRequestHeader
from gantry.protocol.remoting.header.get_min_offset import GetMinOffsetRequestHeader
from gantry.protocol.remoting.header.pull_message import PullMessageRequestHeader
from gantry.protocol.remoting.header.query_consumer_offset import QueryConsumerOffsetRequestHeader
from gantry.protocol.remoting.header.search_offset import SearchOffsetRequestHeader
from gantry.protocol.remoting.header.send_message import SendMessageRequestHeader
from gantry.protocol.remoting.header.send_message_v2 import SendMessageRequestHeaderV2
from gantry.protocol.remoting.header.update_consumer_offset import UpdateConsumerOffsetRequestHeader
from gantry.runtime.remoting_server import RequestTable

from ..context import BrokerContext
from .consumer_send_msg_back import ConsumerSendMsgBackProcessor
from .get_earliest_msg_storetime import GetEarliestMsgStoretimeProcessor
from .get_max_offset import GetMaxOffsetProcessor
from .get_min_offset import GetMinOffsetProcessor
from .pull_message import PullMessageProcessor
from .query_consumer_offset import QueryConsumerOffsetProcessor
from .search_offset import SearchOffsetProcessor
from .send_message import SendMessageProcessor
from .update_consumer_offset import UpdateConsumerOffsetProcessor

type_of_answer = RemotingCommand | None | Awaitable[RemotingCommand | None]
Processor = Callable[[Any, RemotingCommand, Any], type_of_answer]


@dataclass(frozen=True, slots=True)
class Row:
    """One request the broker answers.

    `header` is its header class, or None when it has none. `fast_port` says whether the port listenPort - 2 offers it
    too: there everything is, except the pull family. Source: BrokerController.registerProcessor (5.3).
    """

    code: RequestCode
    header: type[Any] | None
    processor: Callable[[BrokerContext], Processor]
    fast_port: bool = True


ROWS: tuple[Row, ...] = (
    # -- the data path: send, pull, offsets --------------------------------------------------------------------------
    Row(RequestCode.SEND_MESSAGE, SendMessageRequestHeader, SendMessageProcessor),
    Row(RequestCode.SEND_MESSAGE_V2, SendMessageRequestHeaderV2, SendMessageProcessor),
    Row(RequestCode.SEND_BATCH_MESSAGE, SendMessageRequestHeaderV2, SendMessageProcessor),
    Row(RequestCode.CONSUMER_SEND_MSG_BACK, ConsumerSendMsgBackRequestHeader, ConsumerSendMsgBackProcessor),
    Row(RequestCode.PULL_MESSAGE, PullMessageRequestHeader, PullMessageProcessor, fast_port=False),
    Row(RequestCode.LITE_PULL_MESSAGE, PullMessageRequestHeader, PullMessageProcessor, fast_port=False),
    Row(RequestCode.QUERY_CONSUMER_OFFSET, QueryConsumerOffsetRequestHeader, QueryConsumerOffsetProcessor),
    Row(RequestCode.UPDATE_CONSUMER_OFFSET, UpdateConsumerOffsetRequestHeader, UpdateConsumerOffsetProcessor),
    Row(RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, SearchOffsetRequestHeader, SearchOffsetProcessor),
    Row(RequestCode.GET_MAX_OFFSET, GetMaxOffsetRequestHeader, GetMaxOffsetProcessor),
    Row(RequestCode.GET_MIN_OFFSET, GetMinOffsetRequestHeader, GetMinOffsetProcessor),
    Row(RequestCode.GET_EARLIEST_MSG_STORETIME, GetEarliestMsgStoretimeRequestHeader, GetEarliestMsgStoretimeProcessor),
    # -- clients: heartbeats, groups, locks --------------------------------------------------------------------------
    # -- administration, queries, statistics -------------------------------------------------------------------------
)


def build_request_tables(broker: BrokerContext) -> tuple[RequestTable, RequestTable]:
    """The tables of the main port and of the fast port, over one instance of each processor."""
    main, fast = RequestTable(), RequestTable()
    made: dict[Callable[[BrokerContext], Processor], Processor] = {}
    for row in ROWS:
        processor = made.get(row.processor)
        if processor is None:
            processor = made[row.processor] = row.processor(broker)
        main.add(row.code, row.header, processor)
        if row.fast_port:
            fast.add(row.code, row.header, processor)
    return main, fast
