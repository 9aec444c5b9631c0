"""The client: send messages and receive them.

    from gantry.client import Message, Producer, PushConsumer

See docs/clients.md. Everything is asyncio; one event loop owns a client.
"""

from gantry.model import Message, MessageExt, MessageQueue

from .consumer_options import ConsumeFromWhere, ConsumerOptions, MessageModel
from .doors import Doors
from .message_selector import MessageSelector
from .pop_consumer import PopConsumer
from .process_queue import FlowLimits
from .producer import Producer, ProducerOptions
from .pull_consumer import PullConsumer
from .push_consumer import PushConsumer
from .queue_selectors import by_key, by_message_group
from .request_reply import reply_to
from .results import ConsumeResult, RetryLater, SendResult, SendStatus
from .transaction import TransactionListener, TransactionProducer, TransactionSendResult, TransactionState

__all__ = [
    "ConsumeFromWhere",
    "ConsumeResult",
    "ConsumerOptions",
    "Doors",
    "FlowLimits",
    "Message",
    "MessageExt",
    "MessageModel",
    "MessageQueue",
    "MessageSelector",
    "PopConsumer",
    "Producer",
    "ProducerOptions",
    "PullConsumer",
    "PushConsumer",
    "RetryLater",
    "SendResult",
    "SendStatus",
    "TransactionListener",
    "TransactionProducer",
    "TransactionSendResult",
    "TransactionState",
    "by_key",
    "by_message_group",
    "reply_to",
]
