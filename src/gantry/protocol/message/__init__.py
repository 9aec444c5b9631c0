"""Messages as bytes: the stored record, its property string, batch bodies, ids and tag hashes. Sans-IO."""

from gantry.protocol.message.batch import BatchElement, decode_batch, encode_batch
from gantry.protocol.message.message_id import decode_offset_msg_id, offset_msg_id
from gantry.protocol.message.properties import decode_properties, encode_properties, find_property
from gantry.protocol.message.record import RecordView, decode_record, decode_records, encode_record
from gantry.protocol.message.tags import tags_code
from gantry.protocol.message.unique_id import UniqueIdMaker

__all__ = [
    "BatchElement",
    "RecordView",
    "UniqueIdMaker",
    "decode_batch",
    "decode_offset_msg_id",
    "decode_properties",
    "decode_record",
    "decode_records",
    "encode_batch",
    "encode_properties",
    "encode_record",
    "find_property",
    "offset_msg_id",
    "tags_code",
]
