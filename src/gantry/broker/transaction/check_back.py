"""The request that asks a producer how its transaction ended. Pure."""

from __future__ import annotations

from gantry.model import StoreMessage
from gantry.protocol.message.record import encode_record
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.check_transaction_state import CheckTransactionStateRequestHeader
from gantry.store import PlannedRecord

from .half_message import HALF_TOPIC, Half

BROKER_NAME = "bname"


def check_request(half: Half, renewed: StoreMessage, place: PlannedRecord, broker_name: str) -> RemotingCommand:
    """Asks for the end of a half that was appended again at `place`.

    Shape:  the header names the half's new place; the body is its record with the real topic and queue.
    Source: AbstractTransactionalMessageCheckListener.sendCheckMessage (5.5).
    """
    header = CheckTransactionStateRequestHeader(
        topic=HALF_TOPIC,
        tran_state_table_offset=place.queue_offset,
        commit_log_offset=place.physical_offset,
        msg_id=half.unique_key or None,
        transaction_id=half.unique_key or None,
        offset_msg_id=place.offset_msg_id,
    )
    real = renewed._replace(topic=half.real_topic, queue_id=half.real_queue_id or 0)
    body = encode_record(
        real,
        queue_offset=place.queue_offset,
        physical_offset=place.physical_offset,
        store_timestamp=half.view.store_timestamp,
    )
    request = RemotingCommand.request(header, body)
    request.ext_fields = {**(request.ext_fields or {}), BROKER_NAME: broker_name}
    return request
