"""Header of GET_ALL_TOPIC_CONFIG (21)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class GetAllTopicConfigRequestHeader(RequestHeader, code=RequestCode.GET_ALL_TOPIC_CONFIG):
    """All topics of this broker, whole or by page."""

    topic_seq: int | None = wire("topicSeq", default=None, bits=32)
    data_version: str | None = wire("dataVersion", default=None)
    max_topic_num: int | None = wire("maxTopicNum", default=None, bits=32)


class GetAllTopicConfigResponseHeader(ResponseHeader):
    """Answer to GET_ALL_TOPIC_CONFIG."""

    total_topic_num: int | None = wire("totalTopicNum", default=None, bits=32)
