"""REGISTER_TOPIC_IN_NAMESRV: add queues of a topic by hand."""

from __future__ import annotations

from gantry.errors import BrokerError, RemoteProtocolError
from gantry.protocol.remoting.body.route import decode_route
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.register_topic import RegisterTopicRequestHeader
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class RegisterTopicProcessor:
    """The queue data of the route in the body counts. As with the original, 0 also when it names an unknown broker
    (then nothing changes) or no queues at all."""

    def __init__(self, names: NamesrvContext) -> None:
        self._routes = names.routes

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: RegisterTopicRequestHeader) -> RemotingCommand:
        if request.body:
            try:
                route = decode_route(request.body)
            except RemoteProtocolError as error:
                remark = f"route of {header.topic} cannot be read: {error}"
                raise BrokerError(ResponseCode.SYSTEM_ERROR, remark) from error
            self._routes.register_topic(header.topic, route.queue_datas)
        return request.reply()
