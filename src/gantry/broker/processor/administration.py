"""The rows of the request table that operators and their tools ask: topics, groups, offsets, queries, statistics.

A module of its own because it is loaded when first needed (see `table.RequestTables`): two thirds of what a broker can
answer, and nothing that a message needs on its way.
"""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.cancel_timers import CancelTimersRequestHeader
from gantry.protocol.remoting.header.clone_group_offset import CloneGroupOffsetRequestHeader
from gantry.protocol.remoting.header.consume_message_directly import ConsumeMessageDirectlyRequestHeader
from gantry.protocol.remoting.header.create_recurring_timer import CreateRecurringTimerRequestHeader
from gantry.protocol.remoting.header.create_topic import CreateTopicRequestHeader
from gantry.protocol.remoting.header.delete_recurring_timer import DeleteRecurringTimerRequestHeader
from gantry.protocol.remoting.header.delete_subscription_group import DeleteSubscriptionGroupRequestHeader
from gantry.protocol.remoting.header.delete_topic import DeleteTopicRequestHeader
from gantry.protocol.remoting.header.get_all_subscription_group import GetAllSubscriptionGroupRequestHeader
from gantry.protocol.remoting.header.get_all_topic_config import GetAllTopicConfigRequestHeader
from gantry.protocol.remoting.header.get_broker_consume_stats import GetBrokerConsumeStatsRequestHeader
from gantry.protocol.remoting.header.get_consume_stats import GetConsumeStatsRequestHeader
from gantry.protocol.remoting.header.get_consumer_connection_list import GetConsumerConnectionListRequestHeader
from gantry.protocol.remoting.header.get_consumer_running_info import GetConsumerRunningInfoRequestHeader
from gantry.protocol.remoting.header.get_producer_connection_list import GetProducerConnectionListRequestHeader
from gantry.protocol.remoting.header.get_subscription_group_config import GetSubscriptionGroupConfigRequestHeader
from gantry.protocol.remoting.header.get_topic_config import GetTopicConfigRequestHeader
from gantry.protocol.remoting.header.get_topic_stats_info import GetTopicStatsInfoRequestHeader
from gantry.protocol.remoting.header.invoke_broker_to_get_consumer_status import InvokeBrokerToGetConsumerStatusRequestHeader
from gantry.protocol.remoting.header.invoke_broker_to_reset_offset import InvokeBrokerToResetOffsetRequestHeader
from gantry.protocol.remoting.header.list_recurring_timers import ListRecurringTimersRequestHeader
from gantry.protocol.remoting.header.list_timers import ListTimersRequestHeader
from gantry.protocol.remoting.header.query_consume_queue import QueryConsumeQueueRequestHeader
from gantry.protocol.remoting.header.query_consume_time_span import QueryConsumeTimeSpanRequestHeader
from gantry.protocol.remoting.header.query_correction_offset import QueryCorrectionOffsetRequestHeader
from gantry.protocol.remoting.header.query_message import QueryMessageRequestHeader
from gantry.protocol.remoting.header.query_subscription_by_consumer import QuerySubscriptionByConsumerRequestHeader
from gantry.protocol.remoting.header.query_topic_consume_by_who import QueryTopicConsumeByWhoRequestHeader
from gantry.protocol.remoting.header.query_topics_by_consumer import QueryTopicsByConsumerRequestHeader
from gantry.protocol.remoting.header.recall_message import RecallMessageRequestHeader
from gantry.protocol.remoting.header.reschedule_timers import RescheduleTimersRequestHeader
from gantry.protocol.remoting.header.resume_check_half_message import ResumeCheckHalfMessageRequestHeader
from gantry.protocol.remoting.header.update_group_forbidden import UpdateGroupForbiddenRequestHeader
from gantry.protocol.remoting.header.view_broker_stats_data import ViewBrokerStatsDataRequestHeader
from gantry.protocol.remoting.header.view_message import ViewMessageRequestHeader

from .cancel_timers import CancelTimersProcessor
from .clean_expired_consume_queue import CleanExpiredConsumeQueueProcessor
from .clean_unused_topic import CleanUnusedTopicProcessor
from .clone_group_offset import CloneGroupOffsetProcessor
from .consume_message_directly import ConsumeMessageDirectlyProcessor
from .create_recurring_timer import CreateRecurringTimerProcessor
from .delete_expired_commit_log import DeleteExpiredCommitLogProcessor
from .delete_recurring_timer import DeleteRecurringTimerProcessor
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
from .get_cold_data_flow_ctr_info import GetColdDataFlowCtrInfoProcessor
from .get_consume_stats import GetConsumeStatsProcessor
from .get_consumer_connection_list import GetConsumerConnectionListProcessor
from .get_consumer_running_info import GetConsumerRunningInfoProcessor
from .get_consumer_status import GetConsumerStatusProcessor
from .get_producer_connection_list import GetProducerConnectionListProcessor
from .get_subscription_group_config import GetSubscriptionGroupConfigProcessor
from .get_system_topic_list_from_broker import GetSystemTopicListFromBrokerProcessor
from .get_timer_check_point import GetTimerCheckPointProcessor
from .get_timer_metrics import GetTimerMetricsProcessor
from .get_topic_config import GetTopicConfigProcessor
from .get_topic_stats_info import GetTopicStatsInfoProcessor
from .list_recurring_timers import ListRecurringTimersProcessor
from .list_timers import ListTimersProcessor
from .query_consume_queue import QueryConsumeQueueProcessor
from .query_consume_time_span import QueryConsumeTimeSpanProcessor
from .query_correction_offset import QueryCorrectionOffsetProcessor
from .query_message import QueryMessageProcessor
from .query_subscription_by_consumer import QuerySubscriptionByConsumerProcessor
from .query_topic_consume_by_who import QueryTopicConsumeByWhoProcessor
from .query_topics_by_consumer import QueryTopicsByConsumerProcessor
from .recall_message import RecallMessageProcessor
from .remove_cold_data_flow_ctr_config import RemoveColdDataFlowCtrConfigProcessor
from .reschedule_timers import RescheduleTimersProcessor
from .reset_offset import ResetOffsetProcessor
from .resume_check_half_message import ResumeCheckHalfMessageProcessor
from .row import Row
from .set_commitlog_read_mode import SetCommitlogReadModeProcessor
from .set_message_request_mode import SetMessageRequestModeProcessor
from .update_and_create_subscription_group import UpdateAndCreateSubscriptionGroupProcessor
from .update_and_create_subscription_group_list import UpdateAndCreateSubscriptionGroupListProcessor
from .update_and_create_topic import UpdateAndCreateTopicProcessor
from .update_and_create_topic_list import UpdateAndCreateTopicListProcessor
from .update_and_get_group_forbidden import UpdateAndGetGroupForbiddenProcessor
from .update_broker_config import UpdateBrokerConfigProcessor
from .update_cold_data_flow_ctr_config import UpdateColdDataFlowCtrConfigProcessor
from .view_broker_stats_data import ViewBrokerStatsDataProcessor
from .view_message_by_id import ViewMessageByIdProcessor

ROWS: tuple[Row, ...] = (
    Row(RequestCode.GET_ALL_MESSAGE_REQUEST_MODE, None, GetAllMessageRequestModeProcessor),
    Row(RequestCode.SET_MESSAGE_REQUEST_MODE, None, SetMessageRequestModeProcessor),
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
    Row(RequestCode.RECALL_MESSAGE, RecallMessageRequestHeader, RecallMessageProcessor),
    Row(RequestCode.GET_TIMER_CHECK_POINT, None, GetTimerCheckPointProcessor),
    Row(RequestCode.GET_TIMER_METRICS, None, GetTimerMetricsProcessor),
    Row(RequestCode.LIST_TIMERS, ListTimersRequestHeader, ListTimersProcessor),
    Row(RequestCode.CANCEL_TIMERS, CancelTimersRequestHeader, CancelTimersProcessor),
    Row(RequestCode.RESCHEDULE_TIMERS, RescheduleTimersRequestHeader, RescheduleTimersProcessor),
    Row(RequestCode.CREATE_RECURRING_TIMER, CreateRecurringTimerRequestHeader, CreateRecurringTimerProcessor),
    Row(RequestCode.LIST_RECURRING_TIMERS, ListRecurringTimersRequestHeader, ListRecurringTimersProcessor),
    Row(RequestCode.DELETE_RECURRING_TIMER, DeleteRecurringTimerRequestHeader, DeleteRecurringTimerProcessor),
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
    Row(RequestCode.RESUME_CHECK_HALF_MESSAGE, ResumeCheckHalfMessageRequestHeader, ResumeCheckHalfMessageProcessor),
    Row(RequestCode.UPDATE_COLD_DATA_FLOW_CTR_CONFIG, None, UpdateColdDataFlowCtrConfigProcessor),
    Row(RequestCode.REMOVE_COLD_DATA_FLOW_CTR_CONFIG, None, RemoveColdDataFlowCtrConfigProcessor),
    Row(RequestCode.GET_COLD_DATA_FLOW_CTR_INFO, None, GetColdDataFlowCtrInfoProcessor),
    Row(RequestCode.SET_COMMITLOG_READ_MODE, None, SetCommitlogReadModeProcessor),
    Row(RequestCode.VIEW_MESSAGE_BY_ID, ViewMessageRequestHeader, ViewMessageByIdProcessor),
)
