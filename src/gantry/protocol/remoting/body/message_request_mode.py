"""Bodies of QUERY_ASSIGNMENT, SET_MESSAGE_REQUEST_MODE and GET_ALL_MESSAGE_REQUEST_MODE."""

from __future__ import annotations

import msgspec

from gantry.model.heartbeat import CLUSTERING
from gantry.model.message import MessageQueue

PULL = "PULL"
POP = "POP"


class MessageRequestModeBody(msgspec.Struct, rename="camel"):
    """How a group fetches from a topic: PULL or POP; in POP a queue is shared with that many clients after its owner."""

    topic: str = ""
    consumer_group: str = ""
    mode: str = PULL
    pop_share_queue_num: int = 0


class QueryAssignmentRequestBody(msgspec.Struct, rename="camel"):
    topic: str = ""
    consumer_group: str = ""
    client_id: str = ""
    strategy_name: str = ""
    message_model: str = CLUSTERING


class MessageQueueAssignment(msgspec.Struct, rename="camel"):
    message_queue: MessageQueue
    mode: str = PULL


class QueryAssignmentResponseBody(msgspec.Struct, rename="camel"):
    """The queues of one client. None: the broker cannot tell, and the client keeps what it has."""

    message_queue_assignments: list[MessageQueueAssignment] | None = None
