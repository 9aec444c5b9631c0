"""The one table: request code -> header -> processor.

To add a request: a header file in `gantry.protocol.remoting.header`, a processor file here, one row below, or in
`administration` when operators ask it, and no broker or client at work.
"""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.broker_heartbeat import BrokerHeartbeatRequestHeader
from gantry.protocol.remoting.header.get_broker_member_group import GetBrokerMemberGroupRequestHeader
from gantry.protocol.remoting.header.get_route_info import GetRouteInfoRequestHeader
from gantry.protocol.remoting.header.query_data_version import QueryDataVersionRequestHeader
from gantry.protocol.remoting.header.register_broker import RegisterBrokerRequestHeader
from gantry.protocol.remoting.header.unregister_broker import UnregisterBrokerRequestHeader
from gantry.runtime.remoting_server import RequestTable

from ..context import NamesrvContext
from .broker_heartbeat import BrokerHeartbeatProcessor
from .get_broker_cluster_info import GetBrokerClusterInfoProcessor
from .get_broker_member_group import GetBrokerMemberGroupProcessor
from .get_route_info import GetRouteInfoProcessor
from .query_data_version import QueryDataVersionProcessor
from .register_broker import RegisterBrokerProcessor
from .row import Row
from .unregister_broker import UnregisterBrokerProcessor

ROWS: tuple[Row, ...] = (
    Row(RequestCode.REGISTER_BROKER, RegisterBrokerRequestHeader, RegisterBrokerProcessor),
    Row(RequestCode.UNREGISTER_BROKER, UnregisterBrokerRequestHeader, UnregisterBrokerProcessor),
    Row(RequestCode.BROKER_HEARTBEAT, BrokerHeartbeatRequestHeader, BrokerHeartbeatProcessor),
    Row(RequestCode.QUERY_DATA_VERSION, QueryDataVersionRequestHeader, QueryDataVersionProcessor),
    Row(RequestCode.GET_ROUTEINFO_BY_TOPIC, GetRouteInfoRequestHeader, GetRouteInfoProcessor),
    Row(RequestCode.GET_BROKER_CLUSTER_INFO, None, GetBrokerClusterInfoProcessor),
    Row(RequestCode.GET_BROKER_MEMBER_GROUP, GetBrokerMemberGroupRequestHeader, GetBrokerMemberGroupProcessor),
)


def build_request_table(names: NamesrvContext) -> RequestTable:
    """The table of the name server's port: what brokers and clients ask; the rows of `administration` follow with the
    first other code, or when somebody wants to see the table as a whole."""

    def add_rest() -> None:
        from .administration import ROWS as administration

        for row in administration:
            table.add(row.code, row.header, row.processor(names))

    table = RequestTable(add_rest)
    for row in ROWS:
        table.add(row.code, row.header, row.processor(names))
    return table
