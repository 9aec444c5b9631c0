"""GET_ROUTEINFO_BY_TOPIC: which brokers hold a topic. The request clients send most."""

from __future__ import annotations

import logging

from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.route import encode_route
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_route_info import GetRouteInfoRequestHeader
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext
from ..kv_config_manager import NAMESPACE_ORDER_TOPIC_CONFIG
from ..zone_filter import asked_zone, filter_by_zone

log = logging.getLogger(__name__)

# The end of the remark is the original's, from FAQUrl; scripts match the beginning.
SUGGESTION = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."


class GetRouteInfoProcessor:
    """17 for a topic that no live broker holds: producers then ask for TBW102 and create the topic by sending.

    With needWaitForService, 1 until brokers had time to register: half a route is worse than none.
    """

    def __init__(self, names: NamesrvContext) -> None:
        self._config = names.config
        self._clock = names.clock
        self._routes = names.routes
        self._kv_config = names.kv_config
        self._started_ms = names.started_ms

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: GetRouteInfoRequestHeader) -> RemotingCommand:
        if self._config.need_wait_for_service and self._still_waiting():
            log.warning("name server not ready. request code %d", request.code)
            return request.reply(ResponseCode.SYSTEM_ERROR, "name server not ready")
        route = self._routes.pickup_topic_route_data(header.topic)
        if route is None:
            return request.reply(
                ResponseCode.TOPIC_NOT_EXIST,
                f"No topic route info in name server for the topic: {header.topic}{SUGGESTION}",
            )
        if self._config.order_message_enable:
            route.order_topic_conf = self._kv_config.get(NAMESPACE_ORDER_TOPIC_CONFIG, header.topic)
        zone = asked_zone(request.ext_fields)
        if zone is not None:
            # The original re-encodes such a route in the old form, whoever asks; clients with zones expect it.
            filter_by_zone(route, zone)
            return request.reply(body=json_dialect.encode(route))
        body = encode_route(
            route,
            version=request.version,
            accept_standard_json_only=bool(header.accept_standard_json_only),
        )
        return request.reply(body=body)

    def _still_waiting(self) -> bool:
        return self._clock.monotonic_ms() - self._started_ms < self._config.wait_seconds_for_service * 1_000
