"""Takes messages of queues for one pop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from gantry.model import MessageExt, StoreMessage, message_const, names
from gantry.protocol.message import pop_handle
from gantry.protocol.message.properties import encode_properties
from gantry.protocol.message.record import decode_record, encode_record, queue_offset_of
from gantry.protocol.remoting.header.pop_message import INIT_MIN
from gantry.store import GetResult, GetStatus

from ..consumer_filter import PullFilter
from .ledger import QueueKey
from .order_info import OrderInfo

if TYPE_CHECKING:
    from gantry.store import MessageStore

    from ..config import BrokerConfig
    from ..offset.consumer_offset_manager import ConsumerOffsetManager
    from .account import PopAccount
    from .order_info_manager import OrderInfoManager

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 8 * 1024 * 1024
"""Most bytes of messages in one answer: a frame ends at 16 MiB, and a message has at most 4."""

_CORRECTED = frozenset({GetStatus.OFFSET_TOO_SMALL, GetStatus.OFFSET_OVERFLOW_BADLY, GetStatus.OFFSET_FOUND_NULL})
_PASSED = frozenset({GetStatus.NO_MATCHED_MESSAGE, GetStatus.OFFSET_FOUND_NULL, GetStatus.MESSAGE_WAS_REMOVING})


class Take:
    """One pop under way: what it asked for and what it has got.

    `topic` is the one asked for; messages of its retry topics are shown under its name. Units: ms; `rest` counts messages that
    were left behind.
    """

    def __init__(
        self,
        *,
        group: str,
        topic: str,
        count_max: int,
        invisible_time: int,
        init_mode: int,
        pop_time: int,
        revive_qid: int,
        matches: PullFilter,
        order: bool = False,
        attempt_id: str | None = None,
    ) -> None:
        self.group = group
        self.topic = topic
        self.count_max = count_max
        self.invisible_time = invisible_time
        self.init_mode = init_mode
        self.pop_time = pop_time
        self.revive_qid = revive_qid
        self.matches = matches
        self.order = order
        self.attempt_id = attempt_id
        self.records: list[bytes | memoryview] = []
        self.size = 0
        self.rest = 0
        self.waited = False
        """To be looked at once more before it waits: a read had to wait for the disk, and what came meanwhile may have been
        told to nobody; or it ended among messages that the filter leaves out."""
        self.start_offsets: list[str] = []
        self.msg_offsets: list[str] = []
        self.order_counts: list[str] = []

    @property
    def is_full(self) -> bool:
        return len(self.records) >= self.count_max or self.size >= BODY_BYTES_MAX


class PopTaker:
    """Source: PopMessageProcessor.popMsgFromQueue (5.3).

    One pop at a time has a queue of a group; another one passes it by. What take_queue() put into a Take is in the ledger.
    """

    def __init__(
        self,
        config: BrokerConfig,
        store: MessageStore,
        account: PopAccount,
        order_infos: OrderInfoManager,
        offsets: ConsumerOffsetManager,
        *,
        on_taken: Callable[[str, str, int, int, int, str], None],
    ) -> None:
        self._config = config
        self._store = store
        self._account = account
        self._order_infos = order_infos
        self._offsets = offsets
        self._on_taken = on_taken
        self._busy: set[QueueKey] = set()
        self._passed_by: set[QueueKey] = set()
        self.on_free: Callable[[str, str, int], object] = lambda topic, group, queue_id: None
        """Told the topic asked for, group and queue id when a queue is free again that another pop has passed by."""

    async def take_queue(self, take: Take, topic: str, queue_id: int) -> None:
        """Adds what a queue has. Raises: StoreError; what is in the Take by then stays out until its deadline."""
        key = topic, take.group, queue_id
        if key in self._busy:
            self._passed_by.add(key)
            if not take.order:
                take.rest += self._behind(key, take)
            return
        self._busy.add(key)
        try:
            if (
                self._config.enable_pop_message_threshold
                and self._account.out_of_queue(*key) > self._config.pop_inflight_message_threshold
            ):
                log.warning("too many messages of %s are out; pop waits for acknowledgements", key)
                take.rest += self._behind(key, take)
                return
            await self._take(take, key)
        finally:
            self._busy.discard(key)
            if key in self._passed_by:
                self._passed_by.discard(key)
                self.on_free(take.topic, take.group, queue_id)

    def pass_by(self, take: Take, topic: str, queue_id: int) -> None:
        """Counts what a queue has for the next pop: this one is full."""
        take.rest += self._behind((topic, take.group, queue_id), take)

    def begin_offset(self, topic: str, group: str, queue_id: int, init_mode: int) -> int:
        """Where a pop of a queue begins, orderly ones apart. Source: PopMessageProcessor.getPopOffset, getInitOffset (5.3)."""
        offset = self._account.next_offset(topic, group, queue_id)
        return offset if offset >= 0 else self._first_of_all(topic, queue_id, init_mode)

    def _behind(self, key: QueueKey, take: Take) -> int:
        topic, group, queue_id = key
        begin = self.begin_offset(topic, group, queue_id, take.init_mode)
        return max(self._store.max_offset(topic, queue_id) - begin, 0)

    def _first_of_all(self, topic: str, queue_id: int, init_mode: int) -> int:
        store = self._store
        if init_mode == INIT_MIN or names.is_retry_topic(topic):
            return max(store.min_offset(topic, queue_id), 0)
        young = self._config.init_pop_offset_by_check_msg_in_mem and store.min_offset(topic, queue_id) <= 0
        if young and store.is_in_memory(topic, queue_id, 0):
            return 0
        return max(store.max_offset(topic, queue_id) - 1, 0)

    def _begin(self, take: Take, key: QueueKey) -> int:
        """The offset to read from; what an operator has set is taken over."""
        topic, group, queue_id = key
        reset = self._offsets.take_reset_offset(topic, group, queue_id)
        if reset is not None:
            self._order_infos.clear(topic, group, queue_id)
            self._account.set_next(self._account.queue(topic, group, queue_id), reset)
            self._offsets.commit(group, topic, queue_id, reset, "ResetPopOffset")
            return reset
        if take.order:
            offset = self._offsets.query(group, topic, queue_id)
            if offset < 0:
                offset = self._first_of_all(topic, queue_id, take.init_mode)
        else:
            offset = self.begin_offset(topic, group, queue_id, take.init_mode)
        if self._offsets.query(group, topic, queue_id) < 0:
            self._offsets.commit(group, topic, queue_id, offset, "getPopOffset")
        return offset

    async def _take(self, take: Take, key: QueueKey) -> None:
        topic, group, queue_id = key
        offset = self._begin(take, key)
        if take.order and self._order_infos.blocks(topic, group, queue_id, take.attempt_id):
            return
        if take.is_full:
            take.rest += max(self._store.max_offset(topic, queue_id) - offset, 0)
            return
        result = await self._get(take, topic, queue_id, offset)
        if result.status in _CORRECTED:
            log.warning("pop of %s begins at %d, the store has no %d", key, result.next_begin_offset, offset)
            offset = result.next_begin_offset
            if not take.order:
                self._account.set_next(self._account.queue(*key), offset)
            self._offsets.commit(group, topic, queue_id, offset, "pop")
            result = await self._get(take, topic, queue_id, offset)
        if result.views:
            self._take_out(take, key, offset, result)
        elif result.status in _PASSED and result.next_begin_offset > offset:
            if take.order:
                self._offsets.commit(group, topic, queue_id, result.next_begin_offset, "pop")
            else:
                self._account.popped(self._account.queue(*key), result.next_begin_offset, take.pop_time, 0, ())
            # A read ends after some hundred messages that nobody wants, or sooner where the filter is dear: there may be more.
            take.waited |= result.next_begin_offset < result.max_offset
        take.rest += max(result.max_offset - result.next_begin_offset, 0)

    async def _get(self, take: Take, topic: str, queue_id: int, offset: int) -> GetResult:
        count = take.count_max - len(take.records)
        limit, matches = BODY_BYTES_MAX - take.size, take.matches
        result = self._store.get(topic, queue_id, offset, count, limit, matches.tags, matches.record)
        if isinstance(result, GetResult):
            return result
        take.waited = True
        return await result

    def _take_out(self, take: Take, key: QueueKey, begin: int, result: GetResult) -> None:
        topic, group, queue_id = key
        offsets = [queue_offset_of(record) for record in result.views]
        if take.order:
            self._take_in_order(take, key, begin, offsets)
        else:
            queue = self._account.queue(*key)
            self._account.popped(queue, result.next_begin_offset, take.pop_time, take.invisible_time, offsets)
        take.start_offsets.append(pop_handle.start_offset_entry(topic, queue_id, begin))
        take.msg_offsets.append(pop_handle.msg_offset_entry(topic, queue_id, offsets))
        records: list[bytes | memoryview] = result.views
        size = result.size
        if topic != take.topic and not self._config.pop_response_return_actual_retry_topic:
            records = [
                under_its_own_topic(
                    decode_record(record),
                    take.topic,
                    pop_handle.build_handle(
                        begin,
                        take.pop_time,
                        take.invisible_time,
                        take.revive_qid,
                        topic,
                        self._config.broker_name,
                        queue_id,
                        offset,
                    ),
                )
                for record, offset in zip(result.views, offsets, strict=True)
            ]
            size = sum(map(len, records))
        take.records += records
        take.size += size
        self._on_taken(group, topic, queue_id, len(offsets), size, take.topic)

    def _take_in_order(self, take: Take, key: QueueKey, begin: int, offsets: list[int]) -> None:
        topic, group, queue_id = key
        before = self._order_infos.find(topic, group, queue_id)
        info = OrderInfo.of_pop(take.attempt_id, take.pop_time, take.invisible_time, offsets, before)
        self._order_infos.put(topic, group, queue_id, info, begin, new=True)
        self._offsets.commit(group, topic, queue_id, begin, "pop")
        counts, least = info.order_counts()
        for offset, count in counts.items():
            take.order_counts.append(pop_handle.offset_order_count_entry(topic, queue_id, offset, count))
        take.order_counts.append(pop_handle.queue_order_count_entry(topic, queue_id, least))


def under_its_own_topic(message: MessageExt, topic: str, handle: str) -> bytes:
    """The record of a retried message as clients see it: named after the topic they popped, with its handle inside.

    Source: PopMessageProcessor.popMsgFromQueue, recoding retry messages (5.3).
    """
    message.properties.setdefault(message_const.POP_CK, handle)
    return encode_record(
        StoreMessage(
            topic=topic,
            queue_id=message.queue_id,
            body=message.body,
            properties=encode_properties(message.properties),
            flag=message.flag,
            sys_flag=message.sys_flag,
            born_timestamp=message.born_timestamp,
            born_host=message.born_host,
            store_host=message.store_host,
            reconsume_times=message.reconsume_times,
            prepared_transaction_offset=message.prepared_transaction_offset,
        ),
        queue_offset=message.queue_offset,
        physical_offset=message.physical_offset,
        store_timestamp=message.store_timestamp,
    )
