"""The one table: request code -> header -> processor.

To add a request: a header file in `gantry.protocol.remoting.header`, a processor file here, one row below.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.add_write_perm_of_broker import AddWritePermOfBrokerRequestHeader
from gantry.protocol.remoting.header.broker_heartbeat import BrokerHeartbeatRequestHeader
from gantry.protocol.remoting.header.delete_kv_config import DeleteKVConfigRequestHeader
from gantry.protocol.remoting.header.delete_topic_from_namesrv import DeleteTopicFromNamesrvRequestHeader
from gantry.protocol.remoting.header.get_broker_member_group import GetBrokerMemberGroupRequestHeader
from gantry.protocol.remoting.header.get_kv_config import GetKVConfigRequestHeader
from gantry.protocol.remoting.header.get_kv_list_by_namespace import GetKVListByNamespaceRequestHeader
from gantry.protocol.remoting.header.get_route_info import GetRouteInfoRequestHeader
from gantry.protocol.remoting.header.get_topics_by_cluster import GetTopicsByClusterRequestHeader
from gantry.protocol.remoting.header.put_kv_config import PutKVConfigRequestHeader
from gantry.protocol.remoting.header.query_data_version import QueryDataVersionRequestHeader
from gantry.protocol.remoting.header.register_broker import RegisterBrokerRequestHeader
from gantry.protocol.remoting.header.register_topic import RegisterTopicRequestHeader
from gantry.protocol.remoting.header.unregister_broker import UnregisterBrokerRequestHeader
from gantry.protocol.remoting.header.wipe_write_perm_of_broker import WipeWritePermOfBrokerRequestHeader
from gantry.runtime.remoting_server import RequestTable

from ..context import NamesrvContext
from .add_write_perm_of_broker import AddWritePermOfBrokerProcessor
from .broker_heartbeat import BrokerHeartbeatProcessor
from .delete_kv_config import DeleteKVConfigProcessor
from .delete_topic import DeleteTopicProcessor
from .get_all_topic_list import GetAllTopicListProcessor
from .get_broker_cluster_info import GetBrokerClusterInfoProcessor
from .get_broker_member_group import GetBrokerMemberGroupProcessor
from .get_has_unit_sub_topic_list import GetHasUnitSubTopicListProcessor
from .get_has_unit_sub_ununit_topic_list import GetHasUnitSubUnUnitTopicListProcessor
from .get_kv_config import GetKVConfigProcessor
from .get_kv_list_by_namespace import GetKVListByNamespaceProcessor
from .get_namesrv_config import GetNamesrvConfigProcessor
from .get_route_info import GetRouteInfoProcessor
from .get_system_topic_list import GetSystemTopicListProcessor
from .get_topics_by_cluster import GetTopicsByClusterProcessor
from .get_unit_topic_list import GetUnitTopicListProcessor
from .put_kv_config import PutKVConfigProcessor
from .query_data_version import QueryDataVersionProcessor
from .register_broker import RegisterBrokerProcessor
from .register_topic import RegisterTopicProcessor
from .unregister_broker import UnregisterBrokerProcessor
from .update_namesrv_config import UpdateNamesrvConfigProcessor
from .wipe_write_perm_of_broker import WipeWritePermOfBrokerProcessor

Processor = Callable[[Any, RemotingCommand, Any], RemotingCommand | Awaitable[RemotingCommand]]


class Row(NamedTuple):
    """One request the name server answers; `header` is None when it has none."""

    code: RequestCode
    header: type[Any] | None
    processor: Callable[[NamesrvContext], Processor]


ROWS: tuple[Row, ...] = (
    Row(RequestCode.REGISTER_BROKER, RegisterBrokerRequestHeader, RegisterBrokerProcessor),
    Row(RequestCode.UNREGISTER_BROKER, UnregisterBrokerRequestHeader, UnregisterBrokerProcessor),
    Row(RequestCode.BROKER_HEARTBEAT, BrokerHeartbeatRequestHeader, BrokerHeartbeatProcessor),
    Row(RequestCode.QUERY_DATA_VERSION, QueryDataVersionRequestHeader, QueryDataVersionProcessor),
    Row(RequestCode.GET_ROUTEINFO_BY_TOPIC, GetRouteInfoRequestHeader, GetRouteInfoProcessor),
    Row(RequestCode.GET_BROKER_CLUSTER_INFO, None, GetBrokerClusterInfoProcessor),
    Row(RequestCode.GET_BROKER_MEMBER_GROUP, GetBrokerMemberGroupRequestHeader, GetBrokerMemberGroupProcessor),
    Row(RequestCode.WIPE_WRITE_PERM_OF_BROKER, WipeWritePermOfBrokerRequestHeader, WipeWritePermOfBrokerProcessor),
    Row(RequestCode.ADD_WRITE_PERM_OF_BROKER, AddWritePermOfBrokerRequestHeader, AddWritePermOfBrokerProcessor),
    Row(RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER, None, GetAllTopicListProcessor),
    Row(RequestCode.GET_TOPICS_BY_CLUSTER, GetTopicsByClusterRequestHeader, GetTopicsByClusterProcessor),
    Row(RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_NS, None, GetSystemTopicListProcessor),
    Row(RequestCode.GET_UNIT_TOPIC_LIST, None, GetUnitTopicListProcessor),
    Row(RequestCode.GET_HAS_UNIT_SUB_TOPIC_LIST, None, GetHasUnitSubTopicListProcessor),
    Row(RequestCode.GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST, None, GetHasUnitSubUnUnitTopicListProcessor),
    Row(RequestCode.DELETE_TOPIC_IN_NAMESRV, DeleteTopicFromNamesrvRequestHeader, DeleteTopicProcessor),
    Row(RequestCode.REGISTER_TOPIC_IN_NAMESRV, RegisterTopicRequestHeader, RegisterTopicProcessor),
    Row(RequestCode.PUT_KV_CONFIG, PutKVConfigRequestHeader, PutKVConfigProcessor),
    Row(RequestCode.GET_KV_CONFIG, GetKVConfigRequestHeader, GetKVConfigProcessor),
    Row(RequestCode.DELETE_KV_CONFIG, DeleteKVConfigRequestHeader, DeleteKVConfigProcessor),
    Row(RequestCode.GET_KVLIST_BY_NAMESPACE, GetKVListByNamespaceRequestHeader, GetKVListByNamespaceProcessor),
    Row(RequestCode.UPDATE_NAMESRV_CONFIG, None, UpdateNamesrvConfigProcessor),
    Row(RequestCode.GET_NAMESRV_CONFIG, None, GetNamesrvConfigProcessor),
)


def build_request_table(names: NamesrvContext) -> RequestTable:
    """The table of the name server's port."""
    table = RequestTable()
    for row in ROWS:
        table.add(row.code, row.header, row.processor(names))
    return table
