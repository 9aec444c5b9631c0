"""From the body of a pull answer to messages: records cut and checked, bodies decompressed within a bound."""

from __future__ import annotations

from gantry.errors import RemoteProtocolError
from gantry.model import MessageExt, message_const, sys_flag
from gantry.protocol.message import decode_records
from gantry.protocol.message.compression import decompress

INFLATED_BYTES_MAX = 64 * 1024 * 1024
"""Bound of one body after decompression: what a hostile or broken producer can make a consumer hold."""


def decode_pulled(body: bytes, *, broker_name: str) -> list[MessageExt]:
    """Messages of a pull answer, in order.

    A body that cannot be decompressed is left as it was stored, with its compression flag still set: the listener decides.
    Raises: RemoteProtocolError when the records themselves cannot be read.
    """
    messages = decode_records(body)
    for message in messages:
        message.broker_name = broker_name
        message.msg_id = message.properties.get(message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX) or message.offset_msg_id
        inflate(message)
    return messages


def inflate(message: MessageExt) -> None:
    """Decompresses the body in place, where it is compressed and can be."""
    if not message.sys_flag & sys_flag.COMPRESSED:
        return
    try:
        message.body = decompress(message.body, message.sys_flag, size_max=INFLATED_BYTES_MAX)
    except RemoteProtocolError:
        return
    message.sys_flag &= ~(sys_flag.COMPRESSED | sys_flag.COMPRESSION_MASK)
