"""Sends as clients write them and as attackers might, for comparing the engine's twins."""

from __future__ import annotations

import json
import random
import struct

from gantry.protocol.message.batch import BatchElement, encode_batch
from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import RemotingCommand, encode_command

TOPICS = ("T", "T", "T", "Other", "%RETRY%g", "Missing", "SCHEDULE_TOPIC_XXXX", "Tä", "")
NAMES = (
    "KEYS", "TAGS", "WAIT", "UNIQ_KEY", "a", "DELAY", "TRAN_MSG", "TIMER_DELAY_MS", "TIMER_DELAY_SEC", "TIMER_DELIVER_MS",
    "POP_CK", "INNER_NUM", "CLUSTER", "MSG_REGION", "TRACE_ON", "MYDELAY", "KEYS2", "",
)  # fmt: skip
COMMON_NAMES = NAMES[:5]
VALUES = ("true", "TRUE", "false", "1", "-1", "", "x", "Ж😀", "a b  c", "DELAY", "UNIQ_KEY", " ", "k1 k2", 'quote"d\\')
FIELDS = {
    "a": "producerGroup", "b": "topic", "c": "defaultTopic", "d": "defaultTopicQueueNums", "e": "queueId", "f": "sysFlag",
    "g": "bornTimestamp", "h": "flag", "i": "properties", "j": "reconsumeTimes", "k": "unitMode", "l": "maxReconsumeTimes",
    "m": "batch", "n": "brokerName",
}  # fmt: skip


def properties(rng: random.Random, *, odd: float) -> str:
    names = NAMES if rng.random() < odd else COMMON_NAMES
    pairs = [(rng.choice(names), rng.choice(VALUES)) for _ in range(rng.randrange(5))]
    if rng.random() < 0.95:
        pairs.insert(rng.randrange(len(pairs) + 1), ("UNIQ_KEY", rng.choice(("7F0000010001", "Ü-1", "a b", "x" * 40))))
    text = "".join(f"{name}\x01{value}\x02" for name, value in pairs)
    if rng.random() < 0.2:
        text = text[:-1]
    if rng.random() < odd:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(("\x01", "\x02", "\x00", "\x02\x02", "é", "\x00" * 510, "\x00" * 511)) + text[at:]
    return text


def batch_body(rng: random.Random, *, odd: float) -> bytes:
    body = encode_batch(
        BatchElement(rng.choice((0, 7, -1)), rng.randbytes(rng.randrange(30)), properties(rng, odd=odd / 4).encode())
        for _ in range(rng.randrange(1, 5))
    )
    if rng.random() < odd:
        at = rng.randrange(len(body))
        body = body[:at] + rng.randbytes(1) + body[at + 1 :]
    return body


def send_frame(rng: random.Random, opaque: int, *, odd: float = 0.1) -> bytes:
    """One frame. `odd` is how much of what may vary is unusual."""
    code = rng.choice((RequestCode.SEND_MESSAGE, RequestCode.SEND_MESSAGE_V2, RequestCode.SEND_BATCH_MESSAGE))
    batch = code == RequestCode.SEND_BATCH_MESSAGE or rng.random() < 0.1
    numbers = ("0", "1", "3", "4", "99", "-1", "007", "", "1_0", " 1", "+1", "９", "999999999", "1000000000")
    strange = rng.random() < odd
    fields = {
        "a": "producers",
        "b": rng.choice(TOPICS) if rng.random() < 0.5 else "T",
        "c": "TBW102",
        "d": rng.choice(numbers) if strange else "4",
        "e": rng.choice(numbers) if strange else str(rng.randrange(4)),
        "f": rng.choice(("0", "1", "4", "8", "12", "16", "48", "64", "128", "257")) if rng.random() < 0.3 else "0",
        "g": rng.choice((*numbers, "9" * 18, "9" * 19)) if strange else "1700000000000",
        "h": rng.choice(numbers) if strange else "0",
        "i": properties(rng, odd=odd),
        "j": rng.choice(numbers) if strange else "0",
        "k": "false",
        "l": rng.choice(numbers) if strange else "16",
        "m": rng.choice(("true", "TRUE", "tRue ")) if batch else "false",
        "n": "broker-a",
    }
    if rng.random() < odd:
        del fields[rng.choice(list(fields))]
    if rng.random() < 0.2:
        items = list(fields.items())
        rng.shuffle(items)
        fields = dict(items)
    if code == RequestCode.SEND_MESSAGE:
        fields = {FIELDS[name]: value for name, value in fields.items()}
    command = RemotingCommand(
        code,
        opaque=opaque,
        flag=rng.choice((0, 0, 0, 2, 1)),
        ext_fields=fields,
        body=batch_body(rng, odd=odd) if batch else rng.randbytes(rng.randrange(60)),
        serialize_type=rng.randrange(2),
    )
    if command.serialize_type == 0 and rng.random() < 0.5:
        return _json_frame(rng, command)
    frame = bytearray(encode_command(command))
    if rng.random() < odd:
        for _ in range(rng.randrange(1, 4)):
            # Not the lengths of the frame itself: both twins cut with them before anything else.
            frame[rng.randrange(8, len(frame))] = rng.choice((0, 1, 2, 34, 92, 125, 128, 255, rng.randrange(256)))
    return bytes(frame)


def _json_frame(rng: random.Random, command: RemotingCommand) -> bytes:
    """The header as other writers have it: escapes, spaces, another order, members that nobody asked for."""
    members = {
        "code": command.code,
        "language": rng.choice(("JAVA", "GO", 3, None)),
        "version": 513,
        "opaque": command.opaque,
        "flag": command.flag,
        "extFields": command.ext_fields,
        "serializeTypeCurrentRPC": "JSON",
    }
    if rng.random() < 0.2:
        members[rng.choice(("remark", "extra", "code "))] = rng.choice((None, "text", 7, [1], {"a": 1}, 1.5))
    items = list(members.items())
    rng.shuffle(items)
    separators = (",", ":") if rng.random() < 0.7 else (", ", " : ")
    header = json.dumps(dict(items), ensure_ascii=rng.random() < 0.5, separators=separators).encode()
    return struct.pack(">II", 4 + len(header) + len(command.body), len(header)) + header + command.body


def similar_frame(rng: random.Random, frame: bytes) -> bytes:
    """The same once more, with some bytes of the header different that are no lengths of the frame itself."""
    changed = bytearray(frame)
    header_end = 8 + int.from_bytes(frame[5:8], "big")
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        at = rng.randrange(8, header_end)
        if rng.random() < 0.8 and (digits := [at for at in range(25, header_end) if chr(frame[at]).isalnum()]):
            at = rng.choice(digits)
        changed[at] = rng.choice(b'0123456789abTKex \x00\x01\x02"\\{}-\x7f\x80\xc3' + frame[8:header_end])
    return bytes(changed)


HALF_NAMES = (
    "DELAY", "TIMER_DELIVER_MS", "POP_CK", "INNER_NUM", "CLUSTER", "MSG_REGION", "_SYS_MSG_PRIORITY_", "REAL_TOPIC", "REAL_QID",
    "__transactionId__", "TRANSACTION_CHECK_TIMES", "TRAN_PREPARED_QUEUE_OFFSET", "CHECK_IMMUNITY_TIME_IN_SECONDS", "PGROUP",
    "a",
)  # fmt: skip


def half_frame(rng: random.Random, opaque: int, *, odd: float = 0.1) -> bytes:
    """The first half of a transaction, as the Java client sends it or stranger."""
    code = rng.choice((RequestCode.SEND_MESSAGE, RequestCode.SEND_MESSAGE_V2))
    pairs = [("UNIQ_KEY", f"7F00{opaque:08}"), ("TRAN_MSG", "true"), ("PGROUP", "producers"), ("WAIT", rng.choice(VALUES[:3]))]
    pairs += rng.sample([("KEYS", "k1 k2"), ("TAGS", "A"), ("colour", "Ж😀"), ("x", 'quote"d\\')], rng.randrange(4))
    if rng.random() < 0.1:
        pairs = [pair for pair in pairs if pair[0] != "PGROUP"]
    rng.shuffle(pairs)
    if rng.random() < odd:
        pairs[rng.randrange(len(pairs))] = (rng.choice(pairs)[0], rng.choice(VALUES))
    if rng.random() < odd:
        pairs.insert(rng.randrange(len(pairs)), (rng.choice(HALF_NAMES), rng.choice(VALUES)))
    text = "".join(f"{name}\x01{value}\x02" for name, value in pairs)
    if rng.random() < 0.2:
        text = text[:-1]
    if rng.random() < odd / 2:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(("\x01", "\x02", "\x00", "é", "\x02\x02")) + text[at:]
    fields = {
        "a": rng.choice(("producers", "producers", "others")),
        "b": rng.choice(TOPICS) if rng.random() < odd else rng.choice(("T", "Other", "Tä")),
        "c": "TBW102",
        "d": "4",
        "e": rng.choice(("4", "99", "-1")) if rng.random() < odd else str(rng.randrange(4)),
        "f": rng.choice(("0", "8", "12", "20", "132")) if rng.random() < odd else rng.choice(("4", "5")),
        "g": str(1_700_000_000_000 - rng.choice((0, 999, 1000, 70_000, -5000))),
        "h": "7",
        "i": text,
        "j": rng.choice(("0", "1")),
        "k": "false",
        "l": "0",
        "m": "true" if rng.random() < odd / 4 else "false",
    }
    return _of_transactions(rng, code, opaque, fields, rng.randbytes(rng.randrange(60)), long=code == RequestCode.SEND_MESSAGE)


def end_frame(rng: random.Random, opaque: int, half: tuple[int, int], *, odd: float = 0.1) -> bytes:
    """How the half at this queue offset and physical offset ended, as its producer says it or stranger."""
    queue_offset, physical_offset = half
    fields = {
        "topic": "T",
        "producerGroup": "producers",
        "tranStateTableOffset": str(queue_offset),
        "commitLogOffset": str(physical_offset),
        "commitOrRollback": rng.choice(("8", "8", "8", "12")),
        "fromTransactionCheck": rng.choice(("false", "true")),
        "msgId": f"7F00{opaque:08}",
        "transactionId": f"7F00{opaque:08}",
        "bname": "broker-a",
    }
    if rng.random() < odd:
        name = rng.choice(list(fields))
        fields[name] = rng.choice(
            ("0", "-1", "others", "", "12", "007", str(queue_offset + 1), str(physical_offset + 7), "9" * 18)
        )
    if rng.random() < odd / 2:
        del fields[rng.choice(list(fields))]
    return _of_transactions(rng, RequestCode.END_TRANSACTION, opaque, fields, b"", long=False)


def _of_transactions(rng: random.Random, code: int, opaque: int, fields: dict[str, str], body: bytes, *, long: bool) -> bytes:
    command = RemotingCommand(
        code,
        opaque=opaque,
        flag=rng.choice((0, 0, 2)),
        ext_fields={FIELDS[name]: value for name, value in fields.items()} if long else fields,
        body=body,
        serialize_type=rng.randrange(2),
    )
    return _json_frame(rng, command) if command.serialize_type == 0 and rng.random() < 0.5 else encode_command(command)
