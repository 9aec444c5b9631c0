"""The answer that all lists of topics by kind share."""

from __future__ import annotations

from collections.abc import Callable

from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.route import TopicList
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand


def topic_list_reply(request: RemotingCommand, enabled: bool, topics: Callable[[], list[str]]) -> RemotingCommand:
    """The list; 1 with the remark `disable` where the setting that governs it is off, and then it is not made."""
    if not enabled:
        return request.reply(ResponseCode.SYSTEM_ERROR, "disable")
    return request.reply(body=json_dialect.encode(TopicList(topics())))
