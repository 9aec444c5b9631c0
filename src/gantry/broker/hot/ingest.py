"""The rim of the hot path: one per connection. Writes what the engine planned, and answers."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gantry.errors import DiskFull, RemoteProtocolError, StoreError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.frame import Frame, FrameDecoder
from gantry.store import PutStatus

from ..processor import put_answer

if TYPE_CHECKING:
    from gantry.runtime.channel import Channel
    from gantry.runtime.remoting_limits import RemotingLimits

    from ..context import BrokerContext
    from ._hot_py import HotEngine, HotPlan

log = logging.getLogger(__name__)


class HotIngest:
    """Takes the bytes of a connection; serves the common sends, returns all other frames.

    A plan is written with the store's one write and made real at once, all inside the call, so a read that comes next
    finds it. Its answers leave in one write: at once, or after the sync for those that wait for the disk. While too many
    answers wait (`sendWaitCountMax`), sends take the long way, which refuses them as busy.
    """

    __slots__ = ("_broker", "_channel", "_decoder", "_engine", "failure")

    def __init__(self, engine: HotEngine, broker: BrokerContext, channel: Channel, limits: RemotingLimits) -> None:
        self._engine = engine
        self._broker = broker
        self._channel = channel
        self._decoder = FrameDecoder(limits.frame_bytes_max, limits.header_bytes_max)
        self.failure: RemoteProtocolError | None = None

    @property
    def partial(self) -> bool:
        return self._decoder.buffered_bytes > 0

    def ingest(self, data: bytes) -> list[Frame]:
        channel = self._channel
        plan = self._engine.ingest(self._decoder, (channel.remote_host, channel.remote_port), data)
        self.failure = plan.failure
        if plan.store_plan is not None:
            if plan.message_count:
                self._carry_out(plan)
            else:
                self._broker.store.abort(plan.store_plan)
        return plan.frames

    def _carry_out(self, plan: HotPlan) -> None:
        store, store_plan = self._broker.store, plan.store_plan
        assert store_plan is not None
        began_ms = self._broker.clock.monotonic_ms()
        try:
            store.write(store_plan)
        except StoreError as error:
            store.abort(store_plan)
            if not isinstance(error, DiskFull):
                log.error("%d messages were not stored: %s", plan.message_count, error)
            self._refuse(plan)
            return
        store.commit(store_plan)
        stats = self._broker.stats
        stats.put_elapsed(self._broker.clock.monotonic_ms() - began_ms, plan.message_count)
        for topic, queue_id, count, size in plan.topics:
            stats.topic_put(topic, queue_id, count, size)
        if not plan.replies:
            return
        durable = store.durable(store_plan)
        if durable is None:
            self._answer(plan, None, PutStatus.PUT_OK)
            return
        self._answer(plan, False, PutStatus.PUT_OK)
        self._broker.waiting_sends.count += len(plan.replies)
        durable.add_done_callback(lambda done: self._durable(plan, done))

    def _durable(self, plan: HotPlan, done: asyncio.Future[PutStatus]) -> None:
        self._broker.waiting_sends.count -= len(plan.replies)
        if done.cancelled() or done.exception() is not None:
            status = PutStatus.FLUSH_DISK_TIMEOUT
        else:
            status = done.result()
        self._answer(plan, True, status)

    def _answer(self, plan: HotPlan, waiting: bool | None, status: PutStatus) -> None:
        """Answers the chosen sends; those that wait for copies may get a weaker code than those that do not."""
        weak = self._broker.replicas.weak_status
        parts: list[bytes] = []
        for group in (False, True) if waiting is None else (waiting,):
            final = weak if group and status is PutStatus.PUT_OK else status
            code = put_answer.STORED_CODES.get(final)
            if code is None:
                refused_code, remark = put_answer.refusal(final, self._broker)
                parts += self._engine.replies(plan, waiting=group, code=refused_code, remark=remark)
            elif waiting is None and weak is PutStatus.PUT_OK:
                parts = self._engine.replies(plan, waiting=None, code=code)
                break
            else:
                parts += self._engine.replies(plan, waiting=group, code=code)
        if parts:
            self._channel.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def _refuse(self, plan: HotPlan) -> None:
        self._broker.stats.put_failure(plan.message_count)
        remark = put_answer.service_not_available(self._broker)
        parts = self._engine.replies(plan, waiting=None, code=ResponseCode.SERVICE_NOT_AVAILABLE, remark=remark)
        if parts:
            self._channel.write(b"".join(parts))
