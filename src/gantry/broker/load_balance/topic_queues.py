"""All readable queues of a topic, on this broker and on the others of the cluster."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.errors import MQError
from gantry.model import perm_name
from gantry.model.message import MessageQueue
from gantry.model.names import is_lmq
from gantry.protocol.remoting.body.route import decode_route
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_route_info import GetRouteInfoRequestHeader

if TYPE_CHECKING:
    from ..context import BrokerContext

log = logging.getLogger(__name__)

ROUTE_TIMEOUT_MS = 3_000


async def topic_queues(broker: BrokerContext, topic: str) -> list[MessageQueue] | None:
    """The queues, sorted; None when nobody knows the topic.

    A name server is asked, because a topic's queues lie on several brokers; when none answers, this broker's own
    queues are better than none.
    """
    if is_lmq(topic):
        return [MessageQueue(topic, broker.config.broker_name, 0)]
    for server in broker.outer_api.name_servers():
        request = RemotingCommand.request(GetRouteInfoRequestHeader(topic=topic, accept_standard_json_only=True))
        try:
            answer = await broker.remoting_client.invoke(server, request, ROUTE_TIMEOUT_MS)
            if answer.code == ResponseCode.SUCCESS and answer.body:
                return sorted(
                    MessageQueue(topic, data.broker_name, queue_id)
                    for data in decode_route(answer.body).queue_datas
                    if perm_name.is_readable(data.perm)
                    for queue_id in range(data.read_queue_nums)
                )
            if answer.code == ResponseCode.TOPIC_NOT_EXIST:
                break
        except MQError as error:
            log.warning("route of topic %s: name server %s: %s", topic, server, error)
    own = broker.topics.select(topic)
    if own is None or not perm_name.is_readable(own.perm):
        return None
    return [MessageQueue(topic, broker.config.broker_name, queue_id) for queue_id in range(own.read_queue_nums)]
