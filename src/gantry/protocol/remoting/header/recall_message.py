"""Header of RECALL_MESSAGE (370)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class RecallMessageRequestHeader(RequestHeader, code=RequestCode.RECALL_MESSAGE):
    """Cancel a timer message by its handle."""

    producer_group: str | None = wire("producerGroup", default=None)
    topic: str = wire("topic")
    recall_handle: str = wire("recallHandle")


class RecallMessageResponseHeader(ResponseHeader):
    """Answer to RECALL_MESSAGE."""

    msg_id: str = wire("msgId")
