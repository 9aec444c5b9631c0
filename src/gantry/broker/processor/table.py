"""The one table: request code -> header schema -> processor, and which port offers it.

To add a request: a header file in `gantry.protocol.remoting.header`, a processor file here, one row below, or in
`administration` when operators ask it and no message on its way.

A processor is a class made from the `BrokerContext`; calling the instance answers one request:

    class GetMinOffsetProcessor:
        def __init__(self, broker: BrokerContext) -> None: ...
        def __call__(self, ctx: RequestContext, request: RemotingCommand, header: GetMinOffsetRequestHeader)
            -> RemotingCommand | None | Awaitable[RemotingCommand | None]: ...

Return None to answer later (`ctx.reply_later`) or never; raise `BrokerError(code, remark)` to refuse.
A class named in several rows is made once and shared by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.ack_message import AckMessageRequestHeader
from gantry.protocol.remoting.header.change_message_invisibletime import ChangeInvisibleTimeRequestHeader
from gantry.protocol.remoting.header.consumer_send_msg_back import ConsumerSendMsgBackRequestHeader
from gantry.protocol.remoting.header.end_transaction import EndTransactionRequestHeader
from gantry.protocol.remoting.header.get_consumer_list_by_group import GetConsumerListByGroupRequestHeader
from gantry.protocol.remoting.header.get_earliest_msg_storetime import GetEarliestMsgStoretimeRequestHeader
from gantry.protocol.remoting.header.get_max_offset import GetMaxOffsetRequestHeader
from gantry.protocol.remoting.header.get_min_offset import GetMinOffsetRequestHeader
from gantry.protocol.remoting.header.notification import NotificationRequestHeader
from gantry.protocol.remoting.header.peek_message import PeekMessageRequestHeader
from gantry.protocol.remoting.header.polling_info import PollingInfoRequestHeader
from gantry.protocol.remoting.header.pop_message import PopMessageRequestHeader
from gantry.protocol.remoting.header.pull_message import PullMessageRequestHeader
from gantry.protocol.remoting.header.query_consumer_offset import QueryConsumerOffsetRequestHeader
from gantry.protocol.remoting.header.search_offset import SearchOffsetRequestHeader
from gantry.protocol.remoting.header.send_message import SendMessageRequestHeader
from gantry.protocol.remoting.header.send_message_v2 import SendMessageRequestHeaderV2
from gantry.protocol.remoting.header.unregister_client import UnregisterClientRequestHeader
from gantry.protocol.remoting.header.update_consumer_offset import UpdateConsumerOffsetRequestHeader
from gantry.runtime.remoting_server import RequestTable

from ..context import BrokerContext
from .ack_message import AckMessageProcessor
from .batch_ack_message import BatchAckMessageProcessor
from .change_message_invisibletime import ChangeInvisibleTimeProcessor
from .check_client_config import CheckClientConfigProcessor
from .consumer_send_msg_back import ConsumerSendMsgBackProcessor
from .end_transaction import EndTransactionProcessor
from .get_consumer_list_by_group import GetConsumerListByGroupProcessor
from .get_earliest_msg_storetime import GetEarliestMsgStoretimeProcessor
from .get_max_offset import GetMaxOffsetProcessor
from .get_min_offset import GetMinOffsetProcessor
from .heart_beat import HeartBeatProcessor
from .lock_batch_mq import LockBatchMqProcessor
from .notification import NotificationProcessor
from .peek_message import PeekMessageProcessor
from .polling_info import PollingInfoProcessor
from .pop_message import PopMessageProcessor
from .pop_rollback import PopRollbackProcessor
from .pull_message import PullMessageProcessor
from .query_assignment import QueryAssignmentProcessor
from .query_consumer_offset import QueryConsumerOffsetProcessor
from .reply_message import ReplyMessageProcessor
from .row import Processor, Row
from .search_offset import SearchOffsetProcessor
from .send_message import SendMessageProcessor
from .unlock_batch_mq import UnlockBatchMqProcessor
from .unregister_client import UnregisterClientProcessor
from .update_consumer_offset import UpdateConsumerOffsetProcessor

ROWS: tuple[Row, ...] = (
    # -- the data path: send, pull, offsets --------------------------------------------------------------------------
    Row(RequestCode.SEND_MESSAGE, SendMessageRequestHeader, SendMessageProcessor),
    Row(RequestCode.SEND_MESSAGE_V2, SendMessageRequestHeaderV2, SendMessageProcessor),
    Row(RequestCode.SEND_BATCH_MESSAGE, SendMessageRequestHeaderV2, SendMessageProcessor),
    Row(RequestCode.SEND_REPLY_MESSAGE, SendMessageRequestHeader, ReplyMessageProcessor),
    Row(RequestCode.SEND_REPLY_MESSAGE_V2, SendMessageRequestHeaderV2, ReplyMessageProcessor),
    Row(RequestCode.CONSUMER_SEND_MSG_BACK, ConsumerSendMsgBackRequestHeader, ConsumerSendMsgBackProcessor),
    Row(RequestCode.END_TRANSACTION, EndTransactionRequestHeader, EndTransactionProcessor),
    Row(RequestCode.PULL_MESSAGE, PullMessageRequestHeader, PullMessageProcessor, fast_port=False),
    Row(RequestCode.LITE_PULL_MESSAGE, PullMessageRequestHeader, PullMessageProcessor, fast_port=False),
    Row(RequestCode.QUERY_CONSUMER_OFFSET, QueryConsumerOffsetRequestHeader, QueryConsumerOffsetProcessor),
    Row(RequestCode.UPDATE_CONSUMER_OFFSET, UpdateConsumerOffsetRequestHeader, UpdateConsumerOffsetProcessor),
    Row(RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, SearchOffsetRequestHeader, SearchOffsetProcessor),
    Row(RequestCode.GET_MAX_OFFSET, GetMaxOffsetRequestHeader, GetMaxOffsetProcessor),
    Row(RequestCode.GET_MIN_OFFSET, GetMinOffsetRequestHeader, GetMinOffsetProcessor),
    Row(RequestCode.GET_EARLIEST_MSG_STORETIME, GetEarliestMsgStoretimeRequestHeader, GetEarliestMsgStoretimeProcessor),
    # -- popping -----------------------------------------------------------------------------------------------------
    Row(RequestCode.POP_MESSAGE, PopMessageRequestHeader, PopMessageProcessor, fast_port=False),
    Row(RequestCode.PEEK_MESSAGE, PeekMessageRequestHeader, PeekMessageProcessor, fast_port=False),
    Row(RequestCode.NOTIFICATION, NotificationRequestHeader, NotificationProcessor, fast_port=False),
    Row(RequestCode.POLLING_INFO, PollingInfoRequestHeader, PollingInfoProcessor, fast_port=False),
    Row(RequestCode.ACK_MESSAGE, AckMessageRequestHeader, AckMessageProcessor),
    Row(RequestCode.BATCH_ACK_MESSAGE, None, BatchAckMessageProcessor),
    Row(RequestCode.CHANGE_MESSAGE_INVISIBLETIME, ChangeInvisibleTimeRequestHeader, ChangeInvisibleTimeProcessor),
    Row(RequestCode.POP_ROLLBACK, None, PopRollbackProcessor),
    # -- clients: heartbeats, groups, locks --------------------------------------------------------------------------
    Row(RequestCode.HEART_BEAT, None, HeartBeatProcessor),
    Row(RequestCode.UNREGISTER_CLIENT, UnregisterClientRequestHeader, UnregisterClientProcessor),
    Row(RequestCode.CHECK_CLIENT_CONFIG, None, CheckClientConfigProcessor),
    Row(RequestCode.GET_CONSUMER_LIST_BY_GROUP, GetConsumerListByGroupRequestHeader, GetConsumerListByGroupProcessor),
    Row(RequestCode.LOCK_BATCH_MQ, None, LockBatchMqProcessor),
    Row(RequestCode.UNLOCK_BATCH_MQ, None, UnlockBatchMqProcessor),
    Row(RequestCode.QUERY_ASSIGNMENT, None, QueryAssignmentProcessor),
)


class RequestTables:
    """The tables of the main port and of the fast port, over one instance of each processor.

    They begin with the rows that messages and clients need; those of `administration` follow with complete(), or when the
    first code is asked that is not there yet. Loading them takes 40 ms or so: a server for a desk or a test starts without,
    a broker for production completes its tables before it listens.
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker
        self.main = RequestTable(self.complete)
        self.fast = RequestTable(self.complete)
        self._made: dict[Callable[[BrokerContext], Processor], Processor] = {}
        self._completed = False
        self._add(ROWS)

    def complete(self) -> None:
        """Adds the rows of `administration`. Idempotent."""
        if self._completed:
            return
        self._completed = True
        from .administration import ROWS as administration

        self._add(administration)

    def _add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            processor = self._made.get(row.processor)
            if processor is None:
                processor = self._made[row.processor] = row.processor(self._broker)
            self.main.add(row.code, row.header, processor)
            if row.fast_port:
                self.fast.add(row.code, row.header, processor)
