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
from gantry.protocol.remoting.header.clone_group_offset import CloneGroupOffsetRequestHeader
from gantry.protocol.remoting.header.consume_message_directly import ConsumeMessageDirectlyRequestHeader
from gantry.protocol.remoting.header.consumer_send_msg_back import ConsumerSendMsgBackRequestHeader
from gantry.protocol.remoting.header.create_topic import CreateTopicRequestHeader
from gantry.protocol.remoting.header.delete_subscription_group import DeleteSubscriptionGroupRequestHeader
from gantry.protocol.remoting.header.delete_topic import DeleteTopicRequestHeader
from gantry.protocol.remoting.header.get_all_subscription_group import GetAllSubscriptionGroupRequestHeader
from gantry.protocol.remoting.header.get_all_topic_config import GetAllTopicConfigRequestHeader
from gantry.protocol.remoting.header.get_broker_consume_stats import GetBrokerConsumeStatsRequestHeader
from gantry.protocol.remoting.header.get_consume_stats import GetConsumeStatsRequestHeader
from gantry.protocol.remoting.header.get_consumer_connection_list import GetConsumerConnectionListRequestHeader
from gantry.protocol.remoting.header.get_consumer_list_by_group import GetConsumerListByGroupRequestHeader
from gantry.protocol.remoting.header.get_consumer_running_info import GetConsumerRunningInfoRequestHeader
from gantry.protocol.remoting.header.get_earliest_msg_storetime import GetEarliestMsgStoretimeRequestHeader
from gantry.protocol.remoting.header.get_max_offset import GetMaxOffsetRequestHeader
from gantry.protocol.remoting.header.get_min_offset import GetMinOffsetRequestHeader
from gantry.protocol.remoting.header.get_producer_connection_list import GetProducerConnectionListRequestHeader
from gantry.protocol.remoting.header.get_subscription_group_config import GetSubscriptionGroupConfigRequestHeader
from gantry.protocol.remoting.header.get_topic_config import GetTopicConfigRequestHeader
from gantry.protocol.remoting.header.get_topic_stats_info import GetTopicStatsInfoRequestHeader
from gantry.protocol.remoting.header.invoke_broker_to_get_consumer_status import InvokeBrokerToGetConsumerStatusRequestHeader
from gantry.protocol.remoting.header.invoke_broker_to_reset_offset import InvokeBrokerToResetOffsetRequestHeader
from gantry.protocol.remoting.header.pull_message import PullMessageRequestHeader
from gantry.protocol.remoting.header.query_consume_queue import QueryConsumeQueueRequestHeader
from gantry.protocol.remoting.header.query_consume_time_span import QueryConsumeTimeSpanRequestHeader
from gantry.protocol.remoting.header.query_consumer_offset import QueryConsumerOffsetRequestHeader
from gantry.protocol.remoting.header.query_correction_offset import QueryCorrectionOffsetRequestHeader
from gantry.protocol.remoting.header.query_message import QueryMessageRequestHeader
from gantry.protocol.remoting.header.query_subscription_by_consumer import QuerySubscriptionByConsumerRequestHeader
from gantry.protocol.remoting.header.query_topic_consume_by_who import QueryTopicConsumeByWhoRequestHeader
from gantry.protocol.remoting.header.query_topics_by_consumer import QueryTopicsByConsumerRequestHeader
from gantry.protocol.remoting.header.search_offset import SearchOffsetRequestHeader
from gantry.protocol.remoting.header.send_message import SendMessageRequestHeader
from gantry.protocol.remoting.header.send_message_v2 import SendMessageRequestHeaderV2
from gantry.protocol.remoting.header.unregister_client import UnregisterClientRequestHeader
from gantry.protocol.remoting.header.update_consumer_offset import UpdateConsumerOffsetRequestHeader
from gantry.protocol.remoting.header.update_group_forbidden import UpdateGroupForbiddenRequestHeader
from gantry.protocol.remoting.header.view_broker_stats_data import ViewBrokerStatsDataRequestHeader
from gantry.protocol.remoting.header.view_message import ViewMessageRequestHeader
from gantry.runtime.remoting_server import Answer, RequestTable

from ..context import BrokerContext
from .check_client_config import CheckClientConfigProcessor
from .clean_expired_consume_queue import CleanExpiredConsumeQueueProcessor
from .clean_unused_topic import CleanUnusedTopicProcessor
from .clone_group_offset import CloneGroupOffsetProcessor
from .consume_message_directly import ConsumeMessageDirectlyProcessor
from .consumer_send_msg_back import ConsumerSendMsgBackProcessor
from .delete_expired_commit_log import DeleteExpiredCommitLogProcessor
from .delete_subscription_group import DeleteSubscriptionGroupProcessor
from .delete_topic import DeleteTopicProcessor
from .get_all_consumer_offset import GetAllConsumerOffsetProcessor
from .get_all_delay_offset import GetAllDelayOffsetProcessor
from .get_all_message_request_mode import GetAllMessageRequestModeProcessor
from .get_all_producer_info import GetAllProducerInfoProcessor
from .get_all_subscription_group_config import GetAllSubscriptionGroupConfigProcessor
from .get_all_topic_config import GetAllTopicConfigProcessor
from .get_broker_config import GetBrokerConfigProcessor
from .get_broker_consume_stats import GetBrokerConsumeStatsProcessor
from .get_broker_ha_status import GetBrokerHaStatusProcessor
from .get_broker_runtime_info import GetBrokerRuntimeInfoProcessor
from .get_consume_stats import GetConsumeStatsProcessor
from .get_consumer_connection_list import GetConsumerConnectionListProcessor
from .get_consumer_list_by_group import GetConsumerListByGroupProcessor
from .get_consumer_running_info import GetConsumerRunningInfoProcessor
from .get_consumer_status import GetConsumerStatusProcessor
from .get_earliest_msg_storetime import GetEarliestMsgStoretimeProcessor
from .get_max_offset import GetMaxOffsetProcessor
from .get_min_offset import GetMinOffsetProcessor
from .get_producer_connection_list import GetProducerConnectionListProcessor
from .get_subscription_group_config import GetSubscriptionGroupConfigProcessor
from .get_system_topic_list_from_broker import GetSystemTopicListFromBrokerProcessor
from .get_topic_config import GetTopicConfigProcessor
from .get_topic_stats_info import GetTopicStatsInfoProcessor
from .heart_beat import HeartBeatProcessor
from .lock_batch_mq import LockBatchMqProcessor
from .pull_message import PullMessageProcessor
from .query_assignment import QueryAssignmentProcessor
from .query_consume_queue import QueryConsumeQueueProcessor
from .query_consume_time_span import QueryConsumeTimeSpanProcessor
from .query_consumer_offset import QueryConsumerOffsetProcessor
from .query_correction_offset import QueryCorrectionOffsetProcessor
from .query_message import QueryMessageProcessor
from .query_subscription_by_consumer import QuerySubscriptionByConsumerProcessor
from .query_topic_consume_by_who import QueryTopicConsumeByWhoProcessor
from .query_topics_by_consumer import QueryTopicsByConsumerProcessor
from .reset_offset import ResetOffsetProcessor
from .search_offset import SearchOffsetProcessor
from .send_message import SendMessageProcessor
from .set_message_request_mode import SetMessageRequestModeProcessor
from .unlock_batch_mq import UnlockBatchMqProcessor
from .unregister_client import UnregisterClientProcessor
from .update_and_create_subscription_group import UpdateAndCreateSubscriptionGroupProcessor
from .update_and_create_subscription_group_list import UpdateAndCreateSubscriptionGroupListProcessor
from .update_and_create_topic import UpdateAndCreateTopicProcessor
from .update_and_create_topic_list import UpdateAndCreateTopicListProcessor
from .update_and_get_group_forbidden import UpdateAndGetGroupForbiddenProcessor
from .update_broker_config import UpdateBrokerConfigProcessor
from .update_consumer_offset import UpdateConsumerOffsetProcessor
from .view_broker_stats_data import ViewBrokerStatsDataProcessor
from .view_message_by_id import ViewMessageByIdProcessor

Processor = Callable[[Any, RemotingCommand, Any], Answer | Awaitable[Answer]]


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
    Row(RequestCode.HEART_BEAT, None, HeartBeatProcessor),
    Row(RequestCode.UNREGISTER_CLIENT, UnregisterClientRequestHeader, UnregisterClientProcessor),
    Row(RequestCode.CHECK_CLIENT_CONFIG, None, CheckClientConfigProcessor),
    Row(RequestCode.GET_CONSUMER_LIST_BY_GROUP, GetConsumerListByGroupRequestHeader, GetConsumerListByGroupProcessor),
    Row(RequestCode.LOCK_BATCH_MQ, None, LockBatchMqProcessor),
    Row(RequestCode.UNLOCK_BATCH_MQ, None, UnlockBatchMqProcessor),
    Row(RequestCode.QUERY_ASSIGNMENT, None, QueryAssignmentProcessor),
    Row(RequestCode.SET_MESSAGE_REQUEST_MODE, None, SetMessageRequestModeProcessor),
    Row(RequestCode.GET_ALL_MESSAGE_REQUEST_MODE, None, GetAllMessageRequestModeProcessor),
    # -- administration, queries, statistics -------------------------------------------------------------------------
    Row(RequestCode.UPDATE_AND_CREATE_TOPIC, CreateTopicRequestHeader, UpdateAndCreateTopicProcessor),
    Row(RequestCode.UPDATE_AND_CREATE_TOPIC_LIST, None, UpdateAndCreateTopicListProcessor),
    Row(RequestCode.DELETE_TOPIC_IN_BROKER, DeleteTopicRequestHeader, DeleteTopicProcessor),
    Row(RequestCode.GET_ALL_TOPIC_CONFIG, GetAllTopicConfigRequestHeader, GetAllTopicConfigProcessor),
    Row(RequestCode.GET_TOPIC_CONFIG, GetTopicConfigRequestHeader, GetTopicConfigProcessor),
    Row(RequestCode.UPDATE_BROKER_CONFIG, None, UpdateBrokerConfigProcessor),
    Row(RequestCode.GET_BROKER_CONFIG, None, GetBrokerConfigProcessor),
    Row(RequestCode.GET_BROKER_RUNTIME_INFO, None, GetBrokerRuntimeInfoProcessor),
    Row(RequestCode.GET_BROKER_HA_STATUS, None, GetBrokerHaStatusProcessor),
    Row(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, None, UpdateAndCreateSubscriptionGroupProcessor),
    Row(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, None, UpdateAndCreateSubscriptionGroupListProcessor),
    Row(
        RequestCode.GET_ALL_SUBSCRIPTIONGROUP_CONFIG,
        GetAllSubscriptionGroupRequestHeader,
        GetAllSubscriptionGroupConfigProcessor,
    ),
    Row(RequestCode.GET_SUBSCRIPTIONGROUP_CONFIG, GetSubscriptionGroupConfigRequestHeader, GetSubscriptionGroupConfigProcessor),
    Row(RequestCode.DELETE_SUBSCRIPTIONGROUP, DeleteSubscriptionGroupRequestHeader, DeleteSubscriptionGroupProcessor),
    Row(RequestCode.UPDATE_AND_GET_GROUP_FORBIDDEN, UpdateGroupForbiddenRequestHeader, UpdateAndGetGroupForbiddenProcessor),
    Row(RequestCode.GET_TOPIC_STATS_INFO, GetTopicStatsInfoRequestHeader, GetTopicStatsInfoProcessor),
    Row(RequestCode.GET_CONSUMER_CONNECTION_LIST, GetConsumerConnectionListRequestHeader, GetConsumerConnectionListProcessor),
    Row(RequestCode.GET_PRODUCER_CONNECTION_LIST, GetProducerConnectionListRequestHeader, GetProducerConnectionListProcessor),
    Row(RequestCode.GET_ALL_PRODUCER_INFO, None, GetAllProducerInfoProcessor),
    Row(RequestCode.GET_CONSUME_STATS, GetConsumeStatsRequestHeader, GetConsumeStatsProcessor),
    Row(RequestCode.GET_BROKER_CONSUME_STATS, GetBrokerConsumeStatsRequestHeader, GetBrokerConsumeStatsProcessor),
    Row(RequestCode.GET_ALL_CONSUMER_OFFSET, None, GetAllConsumerOffsetProcessor),
    Row(RequestCode.GET_ALL_DELAY_OFFSET, None, GetAllDelayOffsetProcessor),
    Row(RequestCode.INVOKE_BROKER_TO_RESET_OFFSET, InvokeBrokerToResetOffsetRequestHeader, ResetOffsetProcessor),
    Row(
        RequestCode.INVOKE_BROKER_TO_GET_CONSUMER_STATUS,
        InvokeBrokerToGetConsumerStatusRequestHeader,
        GetConsumerStatusProcessor,
    ),
    Row(RequestCode.QUERY_TOPIC_CONSUME_BY_WHO, QueryTopicConsumeByWhoRequestHeader, QueryTopicConsumeByWhoProcessor),
    Row(RequestCode.QUERY_TOPICS_BY_CONSUMER, QueryTopicsByConsumerRequestHeader, QueryTopicsByConsumerProcessor),
    Row(
        RequestCode.QUERY_SUBSCRIPTION_BY_CONSUMER,
        QuerySubscriptionByConsumerRequestHeader,
        QuerySubscriptionByConsumerProcessor,
    ),
    Row(RequestCode.QUERY_CONSUME_TIME_SPAN, QueryConsumeTimeSpanRequestHeader, QueryConsumeTimeSpanProcessor),
    Row(RequestCode.QUERY_CORRECTION_OFFSET, QueryCorrectionOffsetRequestHeader, QueryCorrectionOffsetProcessor),
    Row(RequestCode.CLONE_GROUP_OFFSET, CloneGroupOffsetRequestHeader, CloneGroupOffsetProcessor),
    Row(RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_BROKER, None, GetSystemTopicListFromBrokerProcessor),
    Row(RequestCode.CLEAN_EXPIRED_CONSUMEQUEUE, None, CleanExpiredConsumeQueueProcessor),
    Row(RequestCode.CLEAN_UNUSED_TOPIC, None, CleanUnusedTopicProcessor),
    Row(RequestCode.DELETE_EXPIRED_COMMITLOG, None, DeleteExpiredCommitLogProcessor),
    Row(RequestCode.GET_CONSUMER_RUNNING_INFO, GetConsumerRunningInfoRequestHeader, GetConsumerRunningInfoProcessor),
    Row(RequestCode.CONSUME_MESSAGE_DIRECTLY, ConsumeMessageDirectlyRequestHeader, ConsumeMessageDirectlyProcessor),
    Row(RequestCode.VIEW_BROKER_STATS_DATA, ViewBrokerStatsDataRequestHeader, ViewBrokerStatsDataProcessor),
    Row(RequestCode.QUERY_CONSUME_QUEUE, QueryConsumeQueueRequestHeader, QueryConsumeQueueProcessor),
    Row(RequestCode.QUERY_MESSAGE, QueryMessageRequestHeader, QueryMessageProcessor),
    Row(RequestCode.VIEW_MESSAGE_BY_ID, ViewMessageRequestHeader, ViewMessageByIdProcessor),
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
