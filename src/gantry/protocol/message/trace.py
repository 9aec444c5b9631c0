"""Message traces: what a client tells of a message it has sent, consumed, recalled or ended, as text in a topic of its own.

Shape: entries that end with \\x02, fields joined by \\x01, the first is the kind:
       Pub            time region group topic msgId tags keys storeHost bodyLength costMs msgType offsetMsgId success
       SubBefore      time region group requestId msgId retryTimes keys
       SubAfter       requestId msgId costMs success keys contextCode time group
       EndTransaction time region group topic msgId tags keys storeHost msgType transactionId state fromCheck
       Recall         time region group topic msgId success
Source: TraceDataEncoder (5.5).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gantry.errors import RemoteProtocolError

FIELD = "\x01"
ENTRY = "\x02"


class TraceKind(enum.Enum):
    PUB = "Pub"
    SUB_BEFORE = "SubBefore"
    SUB_AFTER = "SubAfter"
    END_TRANSACTION = "EndTransaction"
    RECALL = "Recall"


class TraceMessageType(enum.IntEnum):
    """By their place in the official list."""

    NORMAL = 0
    TRANSACTION_HALF = 1
    TRANSACTION_COMMIT = 2
    DELAY = 3
    ORDER = 4


class ConsumeReturnType(enum.IntEnum):
    """How a listener ended, by the place in the official list."""

    SUCCESS = 0
    TIME_OUT = 1
    EXCEPTION = 2
    RETURN_NULL = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Trace:
    """One entry; what its kind does not have stays at its default. Units: time in ms since 1970, cost in ms, body in bytes."""

    kind: TraceKind
    msg_id: str
    time_ms: int = 0
    region: str = ""
    group: str = ""
    topic: str = ""
    tags: str = ""
    keys: str = ""
    store_host: str = ""
    body_length: int = 0
    cost_ms: int = 0
    message_type: TraceMessageType = TraceMessageType.NORMAL
    offset_msg_id: str = ""
    success: bool = True
    request_id: str = ""
    retry_times: int = 0
    context_code: ConsumeReturnType = ConsumeReturnType.SUCCESS
    transaction_id: str = ""
    transaction_state: str = ""
    from_check: bool = False

    def encode(self) -> str:
        head = (self.time_ms, self.region, self.group)
        fields: tuple[object, ...]
        match self.kind:
            case TraceKind.PUB:
                fields = (
                    *head, self.topic, self.msg_id, self.tags, self.keys, self.store_host, self.body_length, self.cost_ms,
                    int(self.message_type), self.offset_msg_id, self.success,
                )  # fmt: skip
            case TraceKind.SUB_BEFORE:
                fields = (*head, self.request_id, self.msg_id, self.retry_times, self.keys)
            case TraceKind.SUB_AFTER:
                fields = (
                    self.request_id, self.msg_id, self.cost_ms, self.success, self.keys, int(self.context_code), self.time_ms,
                    self.group,
                )  # fmt: skip
            case TraceKind.END_TRANSACTION:
                fields = (
                    *head, self.topic, self.msg_id, self.tags, self.keys, self.store_host, int(self.message_type),
                    self.transaction_id, self.transaction_state, self.from_check,
                )  # fmt: skip
            case TraceKind.RECALL:
                fields = (*head, self.topic, self.msg_id, self.success)
        return FIELD.join((self.kind.value, *map(_text, fields))) + ENTRY

    def all_keys(self) -> list[str]:
        """Under which keys the entry is found: the message's id and its own keys."""
        return [self.msg_id, *self.keys.split()]


def decode_traces(text: str) -> list[Trace]:
    """Entries written by any client; kinds that are not known are passed over. Raises: RemoteProtocolError."""
    found = []
    for entry in text.split(ENTRY):
        name, *fields = entry.split(FIELD)
        try:
            kind = TraceKind(name)
        except ValueError:
            continue
        try:
            found.append(_READERS[kind](fields))
        except (IndexError, ValueError) as error:
            raise RemoteProtocolError(f"trace entry {entry[:80]!r} cannot be read: {error}") from None
    return found


def _pub(f: list[str]) -> Trace:
    # Old clients leave the offset id out.
    offset_msg_id, success = (f[11], f[12]) if len(f) > 12 else ("", f[11])
    return Trace(
        TraceKind.PUB, f[4], int(f[0]), f[1], f[2], f[3], f[5], f[6], f[7], int(f[8]), int(f[9]), TraceMessageType(int(f[10])),
        offset_msg_id, success == "true",
    )  # fmt: skip


def _sub_before(f: list[str]) -> Trace:
    return Trace(
        TraceKind.SUB_BEFORE, f[4], int(f[0]), f[1], f[2], request_id=f[3], retry_times=int(f[5]), keys=f[6]
    )  # fmt: skip


def _sub_after(f: list[str]) -> Trace:
    return Trace(
        TraceKind.SUB_AFTER, f[1], request_id=f[0], cost_ms=int(f[2]), success=f[3] == "true", keys=f[4],
        context_code=ConsumeReturnType(int(f[5]) if len(f) > 5 else 0),
        time_ms=int(f[6]) if len(f) > 7 else 0, group=f[7] if len(f) > 7 else "",
    )  # fmt: skip


def _end_transaction(f: list[str]) -> Trace:
    return Trace(
        TraceKind.END_TRANSACTION, f[4], int(f[0]), f[1], f[2], f[3], f[5], f[6], f[7],
        message_type=TraceMessageType(int(f[8])), transaction_id=f[9], transaction_state=f[10], from_check=f[11] == "true",
    )  # fmt: skip


def _recall(f: list[str]) -> Trace:
    return Trace(TraceKind.RECALL, f[4], int(f[0]), f[1], f[2], f[3], success=f[5] == "true")


_READERS = {
    TraceKind.PUB: _pub,
    TraceKind.SUB_BEFORE: _sub_before,
    TraceKind.SUB_AFTER: _sub_after,
    TraceKind.END_TRANSACTION: _end_transaction,
    TraceKind.RECALL: _recall,
}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
