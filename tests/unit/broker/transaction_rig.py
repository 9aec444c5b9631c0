"""A broker in memory with producers that begin transactions, end them, and are asked how they ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from gantry.model import MessageExt, sys_flag, topic_validator
from gantry.protocol.message.message_id import decode_offset_msg_id
from gantry.protocol.message.record import decode_record
from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.check_transaction_state import CheckTransactionStateRequestHeader
from gantry.protocol.remoting.header.end_transaction import EndTransactionRequestHeader
from gantry.testing import MemoryDisk, VirtualClock
from tests.unit.broker.admin_rig import AdminRig, Peer
from tests.unit.broker.broker_rig import PRODUCER_GROUP

COMMIT, ROLLBACK, UNKNOWN = sys_flag.TRANSACTION_COMMIT, sys_flag.TRANSACTION_ROLLBACK, 0
HALF = topic_validator.TRANS_HALF_TOPIC
OPS = topic_validator.TRANS_OP_HALF_TOPIC
PARKED = topic_validator.TRANS_CHECK_MAX_TIME_TOPIC
ROUND_MS = 30_000


@dataclass(frozen=True)
class Sent:
    """A half message as its sender knows it."""

    unique_key: str
    queue_offset: int
    physical_offset: int


@dataclass(frozen=True)
class Question:
    """A check as its producer got it."""

    header: CheckTransactionStateRequestHeader
    message: MessageExt
    request: RemotingCommand

    @property
    def place(self) -> Sent:
        return Sent(self.header.msg_id or "", self.header.tran_state_table_offset, self.header.commit_log_offset)


class TransactionRig(AdminRig):
    """Born times are the clock's."""

    _serial = 0

    def __init__(self, disk: MemoryDisk | None = None, **settings: Any) -> None:
        super().__init__(disk, **settings)
        self._producers: list[Peer] = []

    async def half(self, body: bytes = b"half", topic: str = "T", queue_id: int = 1, **fields: Any) -> Sent:
        """A half message that was taken."""
        answer = await self.send_half(body, topic, queue_id, **fields)
        assert answer.code == 0, answer
        told = answer.ext_fields or {}
        _, physical_offset = decode_offset_msg_id(told["msgId"])
        return Sent(told["transactionId"], int(told["queueOffset"]), physical_offset)

    async def send_half(self, body: bytes = b"half", topic: str = "T", queue_id: int = 1, **fields: Any) -> RemotingCommand:
        TransactionRig._serial += 1
        properties = {"TRAN_MSG": "true", "PGROUP": PRODUCER_GROUP, **fields.pop("properties", {})}
        return await self.send(
            topic,
            body,
            queue_id=queue_id,
            properties=properties,
            unique_key=fields.pop("unique_key", f"KEY{TransactionRig._serial:029}"),
            sys_flag=fields.pop("sys_flag", sys_flag.TRANSACTION_PREPARED),
            born_timestamp=fields.pop("born_timestamp", self.clock.now_ms()),
            **fields,
        )

    async def end(self, sent: Sent, outcome: int, *, checked: bool = False, **fields: Any) -> RemotingCommand:
        return await self.ask(end_request(sent, outcome, checked=checked, **fields))

    async def producer(self, client_id: str = "p1") -> Peer:
        peer = self.peer(client_id)
        self._producers.append(peer)
        await peer.beat(producers=(PRODUCER_GROUP,))
        return peer

    async def rounds(self, count: int = 1) -> None:
        """So many rounds of checks; the producers here stay known meanwhile."""
        for _ in range(count):
            await self.clock.run_ms(ROUND_MS)
            for peer in self._producers:
                await peer.beat(producers=(PRODUCER_GROUP,))

    async def bodies(self, topic: str = "T", queue_id: int = 1) -> list[bytes]:
        return [message.body for message in await self.messages(topic, queue_id)]


def end_request(sent: Sent, outcome: int, *, checked: bool = False, **fields: Any) -> EndTransactionRequestHeader:
    values: dict[str, Any] = {
        "topic": "T",
        "producer_group": PRODUCER_GROUP,
        "tran_state_table_offset": sent.queue_offset,
        "commit_log_offset": sent.physical_offset,
        "commit_or_rollback": outcome,
        "from_transaction_check": checked,
        "msg_id": sent.unique_key,
        "transaction_id": sent.unique_key,
    }
    return EndTransactionRequestHeader(**{**values, **fields})


def questions(peer: Peer) -> list[Question]:
    """The checks this producer was asked."""
    asked = [request for request in peer.asked if request.code == RequestCode.CHECK_TRANSACTION_STATE]
    return [
        Question(CheckTransactionStateRequestHeader.decode(request.ext_fields), decode_record(request.body), request)
        for request in asked
    ]


def killed(rig: TransactionRig, *, keep: Literal["all", "none"] = "all", **settings: Any) -> TransactionRig:
    """A broker on what is left of this one's disk after a kill -9 ("all") or a power cut ("none"), on a clock as late."""
    disk: MemoryDisk = rig.disk.crashed_copy(keep=keep)
    clock = VirtualClock(rig.clock.now_ms())
    return TransactionRig(disk, clock=clock, **settings)
