"""Questions to name servers: one at a time, the one that answered last first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from gantry.errors import BrokerError, ClientError, RemotingError
from gantry.model import TopicRouteData
from gantry.protocol import json_dialect
from gantry.protocol.remoting import RemotingCommand, ResponseCode
from gantry.protocol.remoting.header.get_route_info import GetRouteInfoRequestHeader

from .remoting import Remoting

logger = logging.getLogger(__name__)


class NameServerApi:
    """Asks the name servers in turn until one answers.

    Name servers do not talk to each other, so any of them may know less than another for a moment; an answer "no such
    topic" is taken as it is, only silence moves on to the next address.
    """

    def __init__(self, remoting: Remoting, addresses: Callable[[], Sequence[str]], *, first: int = 0) -> None:
        self._remoting = remoting
        self._addresses = addresses
        self._sticky = first

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(self._addresses())

    async def route(self, topic: str, *, timeout_ms: int = 3000) -> TopicRouteData | None:
        """The route of a topic; None when the name server knows none.

        Raises: ClientError when no name server answers; BrokerError for an answer other than success or "no such topic".
        """
        command = RemotingCommand.request(GetRouteInfoRequestHeader(topic=topic))
        address, response = await self._ask(command, timeout_ms)
        if response.code == ResponseCode.TOPIC_NOT_EXIST:
            return None
        if response.code != ResponseCode.SUCCESS:
            raise BrokerError(response.code, response.remark or "", address=address)
        return json_dialect.decode_as(response.body, TopicRouteData)

    async def _ask(self, command: RemotingCommand, timeout_ms: int) -> tuple[str, RemotingCommand]:
        addresses = self.addresses
        if not addresses:
            raise ClientError(
                "no name server address is known: pass name_servers='host:9876', or set the environment variable NAMESRV_ADDR"
            )
        failures = []
        for step in range(len(addresses)):
            address = addresses[(self._sticky + step) % len(addresses)]
            try:
                response = await self._remoting.invoke(address, command, timeout_ms)
            except RemotingError as error:
                failures.append(f"{address}: {error}")
                continue
            self._sticky = (self._sticky + step) % len(addresses)
            return address, response
        raise ClientError(
            f"no name server answered ({'; '.join(failures)}); check that one is running there, 'gantry dev' starts one on 9876"
        )
