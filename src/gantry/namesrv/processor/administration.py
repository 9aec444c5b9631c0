"""The rows of the request table that operators and their tools ask; loaded when first needed (see `table`)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.add_write_perm_of_broker import AddWritePermOfBrokerRequestHeader
from gantry.protocol.remoting.header.delete_kv_config import DeleteKVConfigRequestHeader
from gantry.protocol.remoting.header.delete_topic_from_namesrv import DeleteTopicFromNamesrvRequestHeader
from gantry.protocol.remoting.header.get_kv_config import GetKVConfigRequestHeader
from gantry.protocol.remoting.header.get_kv_list_by_namespace import GetKVListByNamespaceRequestHeader
from gantry.protocol.remoting.header.get_topics_by_cluster import GetTopicsByClusterRequestHeader
from gantry.protocol.remoting.header.put_kv_config import PutKVConfigRequestHeader
from gantry.protocol.remoting.header.register_topic import RegisterTopicRequestHeader
from gantry.protocol.remoting.header.wipe_write_perm_of_broker import WipeWritePermOfBrokerRequestHeader

from .add_write_perm_of_broker import AddWritePermOfBrokerProcessor
from .delete_kv_config import DeleteKVConfigProcessor
from .delete_topic import DeleteTopicProcessor
from .get_all_topic_list import GetAllTopicListProcessor
from .get_has_unit_sub_topic_list import GetHasUnitSubTopicListProcessor
from .get_has_unit_sub_ununit_topic_list import GetHasUnitSubUnUnitTopicListProcessor
from .get_kv_config import GetKVConfigProcessor
from .get_kv_list_by_namespace import GetKVListByNamespaceProcessor
from .get_namesrv_config import GetNamesrvConfigProcessor
from .get_system_topic_list import GetSystemTopicListProcessor
from .get_topics_by_cluster import GetTopicsByClusterProcessor
from .get_unit_topic_list import GetUnitTopicListProcessor
from .put_kv_config import PutKVConfigProcessor
from .register_topic import RegisterTopicProcessor
from .row import Row
from .update_namesrv_config import UpdateNamesrvConfigProcessor
from .wipe_write_perm_of_broker import WipeWritePermOfBrokerProcessor

ROWS: tuple[Row, ...] = (
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
