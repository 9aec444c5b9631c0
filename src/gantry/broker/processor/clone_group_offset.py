"""CLONE_GROUP_OFFSET (314): gives a group the offsets another one has."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.clone_group_offset import CloneGroupOffsetRequestHeader

from .get_consume_stats import listens_to

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

log = logging.getLogger(__name__)


class CloneGroupOffsetProcessor:
    """In one topic, or without one in every topic the source has offsets in.

    Source: AdminBrokerProcessor.cloneGroupOffset (5.5), which clones nothing when no topic is named.
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: CloneGroupOffsetRequestHeader
    ) -> RemotingCommand:
        broker = self._broker
        named = header.topic and header.topic.strip()
        for topic in [header.topic] if named and header.topic else sorted(broker.offsets.topics_of(header.src_group)):
            if broker.topics.select(topic) is None:
                log.warning("[cloneGroupOffset], topic config not exist, %s", topic)
                continue
            if not header.offline and not listens_to(broker, header.src_group, topic):
                log.warning("[cloneGroupOffset], group %s does not listen to %s", header.src_group, topic)
                continue
            broker.offsets.clone(header.src_group, header.dest_group, topic)
        await broker.offsets.file.flush()
        return request.reply()
