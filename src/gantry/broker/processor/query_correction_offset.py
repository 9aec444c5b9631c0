"""QUERY_CORRECTION_OFFSET (308): the smallest offset of a topic's queues among groups, compared with one group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.body.group_list import QueryCorrectionOffsetBody
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.query_correction_offset import QueryCorrectionOffsetRequestHeader

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

LONG_MAX = 2**63 - 1


class QueryCorrectionOffsetProcessor:
    """Per queue the smallest offset of all groups; the largest number where the compared group is behind it.

    `filterGroups` are left out of the comparison. Source: AdminBrokerProcessor.queryCorrectionOffset (5.5), which
    removes the offsets of the groups it leaves out; a question changes nothing here.
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: QueryCorrectionOffsetRequestHeader
    ) -> RemotingCommand:
        broker, topic = self._broker, header.topic
        left_out = {name.strip() for name in (header.filter_groups or "").split(",")}
        smallest: dict[int, int] = {}
        for group in broker.offsets.groups_of(topic) - left_out:
            for queue_id, offset in list((broker.offsets.offsets_of(group, topic) or {}).items()):
                if offset >= await broker.store.first_offset(topic, queue_id):
                    smallest[queue_id] = min(smallest.get(queue_id, LONG_MAX), offset)
        for queue_id, offset in (broker.offsets.offsets_of(header.compare_group, topic) or {}).items():
            if smallest.get(queue_id, LONG_MAX) > offset:
                smallest[queue_id] = LONG_MAX
        return json_reply(request, QueryCorrectionOffsetBody(smallest))
