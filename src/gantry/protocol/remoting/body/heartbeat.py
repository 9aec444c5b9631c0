"""Body of HEART_BEAT: what a client tells a broker of its groups."""

from __future__ import annotations

from typing import Any

from gantry.errors import RemoteProtocolError
from gantry.model.heartbeat import CONSUME_FROM_WHERES, CONSUME_TYPES, MESSAGE_MODELS, HeartbeatData
from gantry.protocol import json_dialect

_ENUMS = {"consumeType": CONSUME_TYPES, "messageModel": MESSAGE_MODELS, "consumeFromWhere": CONSUME_FROM_WHERES}


def decode_heartbeat(body: bytes) -> HeartbeatData:
    """Reads the forms of all official clients: enums by name or ordinal, numbers and numeric text alike.

    Raises: RemoteProtocolError.
    """
    json_dialect.check_size(body)
    data = json_dialect.decode_standard(body, HeartbeatData)
    if data is not None:
        return data
    json_dialect.check_values(body, json_dialect.REQUEST_VALUES_MAX)
    value = json_dialect.decode(body)
    if not isinstance(value, dict):
        raise RemoteProtocolError("heartbeat body is not an object")
    consumers = value.get("consumerDataSet") or []
    if not isinstance(consumers, list):
        raise RemoteProtocolError("heartbeat member consumerDataSet is not a list")
    for consumer in consumers:
        if isinstance(consumer, dict):
            _names_for_ordinals(consumer)
    return json_dialect.convert(value, HeartbeatData)


def _names_for_ordinals(consumer: dict[str, Any]) -> None:
    for member, ordered in _ENUMS.items():
        value = consumer.get(member)
        if isinstance(value, int) and not isinstance(value, bool):
            if not 0 <= value < len(ordered):
                raise RemoteProtocolError(f"heartbeat member {member} is {value}, known are 0 to {len(ordered) - 1}")
            consumer[member] = ordered[value]


def encode_heartbeat(data: HeartbeatData) -> bytes:
    return json_dialect.encode(data)
