"""Reading: messages of a queue, positions by time, records by key. All of it as steps (see `steps`)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from gantry.errors import RecordCorrupt, RemoteProtocolError
from gantry.protocol.disk.consume_queue_unit import FILLER_SIZE, UNIT_SIZE, iterate_units
from gantry.protocol.message.record import RecordView

from .commit_log import CommitLog
from .config import StoreConfig
from .consume_queue import ConsumeQueue
from .dispatch import index_keys
from .index_service import IndexService
from .queue_table import QueueTable
from .results import GetResult, QueryResult
from .status import BoundaryType, GetStatus
from .steps import Steps

PULL_SIZE_MAX = 128 << 20
_PULL_SIZE_MIN = 100
_READ_AHEAD_UNITS = 64
_READ_BLOCK_UNITS = 1024
_READ_BLOCKS_MAX = 256
_READ_AHEAD_BYTES = 256 << 10
_READ_AHEAD_MIN = 8
_DENSITY = 16
_QUERY_ROUNDS = 3

_LOOK_TESTS_MAX = 50_000
_LOOK_BYTES_MAX = 16 << 20
"""What one read looks at through a record filter and leaves out: comparisons, and bytes of records. It ends there, with what
it has; the reader goes on with its next read. A cheap filter over usual messages meets `max_filter_message_size` first."""

TagsFilter = Callable[[int], bool]


class RecordFilter(Protocol):
    """Looks at whole records. `tests` is what a look costs, in comparisons of some 100 ns."""

    @property
    def tests(self) -> int: ...

    def matches_record(self, record: bytes | memoryview) -> bool: ...


class Reader:
    """Answers reads from log, queues and index; of its own it only keeps what it read ahead. Owned by the store's loop."""

    def __init__(self, config: StoreConfig, log: CommitLog, queues: QueueTable, index: IndexService) -> None:
        self._config = config
        self._log = log
        self._queues = queues
        self._index = index
        self._blocks: OrderedDict[ConsumeQueue, None] = OrderedDict()

    def is_in_memory(self, physical_offset: int) -> bool:
        """By the original's estimate: within the newest 40 % of the machine's memory."""
        return self._log.wrote_offset - physical_offset <= self._config.in_memory_bytes

    # --- messages of a queue

    def get_steps(
        self,
        topic: str,
        queue_id: int,
        offset: int,
        count_max: int,
        bytes_max: int,
        tags_filter: TagsFilter | None,
        record_filter: RecordFilter | None = None,
    ) -> Steps[GetResult]:
        """Source: DefaultMessageStore.getMessage (5.3); statuses and next offsets as it answers them."""
        queue = self._queues.find(topic, queue_id)
        if queue is None:
            return GetResult(GetStatus.NO_MATCHED_LOGIC_QUEUE, 0, 0, 0)
        yield from queue.min_steps(self._queues.files, self._log.min_offset)
        max_offset = queue.visible_offset
        min_offset = min(queue.min_offset, max_offset)
        if max_offset == 0:
            return GetResult(GetStatus.NO_MESSAGE_IN_QUEUE, 0, min_offset, max_offset)
        if offset < min_offset:
            return GetResult(GetStatus.OFFSET_TOO_SMALL, min_offset, min_offset, max_offset)
        if offset == max_offset:
            return GetResult(GetStatus.OFFSET_OVERFLOW_ONE, offset, min_offset, max_offset)
        if offset > max_offset:
            return GetResult(GetStatus.OFFSET_OVERFLOW_BADLY, max_offset, min_offset, max_offset)
        result = GetResult(GetStatus.NO_MATCHED_MESSAGE, offset, min_offset, max_offset)
        bytes_max = max(min(bytes_max, PULL_SIZE_MAX), _PULL_SIZE_MIN)
        yield from self._fill(result, queue, offset, count_max, bytes_max, tags_filter, record_filter)
        return result

    def _fill(
        self,
        result: GetResult,
        queue: ConsumeQueue,
        offset: int,
        count_max: int,
        bytes_max: int,
        tags_filter: TagsFilter | None,
        record_filter: RecordFilter | None,
    ) -> Steps[None]:
        """Scans entries from `offset` on and collects matching records until a limit is met."""
        scan_end = offset + max(self._config.max_filter_message_size // UNIT_SIZE, count_max)
        scan_end = min(scan_end, result.max_offset)
        position = offset
        removed_below = -1
        last_physical = 0
        tests_left, unwanted_bytes_left = _LOOK_TESTS_MAX, _LOOK_BYTES_MAX
        config, views, count = self._config, result.views, 0
        memory_begin = self._log.wrote_offset - config.in_memory_bytes
        in_memory = config.max_transfer_bytes_on_message_in_memory, config.max_transfer_count_on_message_in_memory
        on_disk = config.max_transfer_bytes_on_message_in_disk, config.max_transfer_count_on_message_in_disk
        full = False
        hot_area, wrote = self._config.hot_area_bytes, self._log.wrote_offset
        reads_ahead = self._config.data_read_ahead_enable
        while position < scan_end and not full:
            wanted = min(scan_end - position, max(count_max, _READ_AHEAD_UNITS))
            block = queue.read_block
            units = yield from queue.unit_steps(self._queues.files, position, wanted, _READ_BLOCK_UNITS)
            if queue.read_block is not block:
                self._remember_block(queue)
            ahead = 0
            if not units:
                if not result.views:
                    result.status = GetStatus.OFFSET_FOUND_NULL
                    result.next_begin_offset = min(position - position % queue.file_units + queue.file_units, result.max_offset)
                break
            for physical_offset, size, code in iterate_units(units):
                filler = size == FILLER_SIZE
                if count and not filler:
                    # The next record would exceed a limit; the first one always passes. Source: isTheBatchFull (5.3).
                    total = result.size + size
                    most_bytes, most_count = in_memory if physical_offset >= memory_begin else on_disk
                    if count >= count_max or total > bytes_max or total > most_bytes or count >= most_count:
                        full = True
                        break
                position += 1
                result.next_begin_offset = position
                if filler or physical_offset < removed_below:
                    continue
                last_physical = physical_offset
                if tags_filter is not None and not tags_filter(code):
                    continue
                if physical_offset >= ahead and reads_ahead:
                    ahead = _read_ahead(units, physical_offset, count_max)
                data = yield from self._log.record_steps(physical_offset, size, ahead)
                if data is None:
                    if not result.views:
                        result.status = GetStatus.MESSAGE_WAS_REMOVING
                    removed_below = physical_offset - physical_offset % self._log.file_size + self._log.file_size
                    continue
                if record_filter is not None:
                    tests_left -= record_filter.tests
                    full = tests_left <= 0
                    if not record_filter.matches_record(data):
                        unwanted_bytes_left -= size
                        if full or unwanted_bytes_left <= 0:
                            full = True
                            break
                        continue
                views.append(data)
                count += 1
                result.size += size
                if wrote - physical_offset > hot_area:
                    result.cold_bytes += size
                result.status = GetStatus.FOUND
                if full:
                    break
        result.suggest_slave = self._log.wrote_offset - last_physical > self._config.in_memory_bytes

    def _remember_block(self, queue: ConsumeQueue) -> None:
        """Few queues keep a block: those that were read from files last."""
        blocks = self._blocks
        blocks[queue] = None
        blocks.move_to_end(queue)
        if len(blocks) > _READ_BLOCKS_MAX:
            oldest, _ = blocks.popitem(last=False)
            oldest.read_block = b""

    # --- reading ahead for the engine of the hot path

    def warm_log(self, physical_offset: int) -> bool:
        """Reads the log around this offset into `spans`, if the page cache has it; False when it must come from the disk."""
        log = self._log
        item = log.find_file(physical_offset)
        if item is None or not self._config.data_read_ahead_enable:
            return False
        length = min(_READ_AHEAD_BYTES, log.wrote_offset - physical_offset, item.start + log.file_size - physical_offset)
        data = item.file.handle().pread_nowait(length, physical_offset - item.start) if length > 0 else None
        if not data:
            return False
        log.spans.put(physical_offset, data)
        return True

    def warm_queue(self, queue: ConsumeQueue, offset: int) -> bool:
        """Reads entries from `offset` on into the queue's `read_block`, if the page cache has them."""
        steps = queue.unit_steps(self._queues.files, offset, 1, _READ_BLOCK_UNITS)
        try:
            step = next(steps)
            data = step.file.handle().pread_nowait(step.length, step.position)
            if data is None:
                steps.close()
                return False
            steps.send(data)
        except StopIteration:
            pass
        begin = (offset - queue.read_block_offset) * UNIT_SIZE
        found = 0 <= begin < len(queue.read_block)
        if found:
            self._remember_block(queue)
        return found

    # --- positions

    def min_offset_steps(self, queue: ConsumeQueue) -> Steps[int]:
        yield from queue.min_steps(self._queues.files, self._log.min_offset)
        return min(queue.min_offset, queue.visible_offset)

    def store_time_steps(self, queue: ConsumeQueue, offset: int) -> Steps[int]:
        """storeTimestamp of the message at a queue offset; -1 when there is none."""
        if not queue.min_offset <= offset < queue.visible_offset:
            return -1
        unit = yield from queue.unit_at_steps(self._queues.files, offset)
        if unit is None:
            return -1
        return (yield from self._log.store_time_steps(unit[0], unit[1]))

    def search_by_time_steps(self, queue: ConsumeQueue, timestamp: int, boundary: BoundaryType) -> Steps[int]:
        """LOWER: first offset stored at or after the time, max when all are older. UPPER: last one stored at or before it.

        Between two times the two boundaries differ: LOWER takes the later neighbour, UPPER the earlier one. When every
        message is newer UPPER answers the minimum. Source: ConsumeQueue.getOffsetInQueueByTime (5.3).
        """
        yield from queue.min_steps(self._queues.files, self._log.min_offset)
        first, end = queue.min_offset, queue.visible_offset
        low, high = first, end
        # Store times never go back along a queue, so halving finds the first that is late enough.
        wanted = timestamp if boundary is BoundaryType.LOWER else timestamp + 1
        while low < high:
            middle = (low + high) // 2
            at = yield from self.store_time_steps(queue, middle)
            if at < wanted:
                low = middle + 1
            else:
                high = middle
        if boundary is BoundaryType.LOWER:
            return low
        return max(low - 1, min(first, end))

    # --- single records

    def record_at_steps(self, physical_offset: int, safe_offset: int) -> Steps[bytes | memoryview | None]:
        """The whole record that begins at this physical offset; None when none begins there or it is not readable yet."""
        size = yield from self._log.size_steps(physical_offset)
        if not size or physical_offset + size > safe_offset:
            return None
        try:
            data = yield from self._log.record_steps(physical_offset, size)
        except RecordCorrupt:
            # Any number may be asked for here, most are in the middle of a record: that is no damage.
            self._log.damaged_read_count -= 1
            return None
        if data is None:
            return None
        try:
            view = RecordView(data)
        except RemoteProtocolError:
            return None
        return data if view.physical_offset == physical_offset else None

    def index_steps(self, topic: str, key: str, count_max: int) -> Steps[list[int]]:
        """Physical offsets of records that may carry a key, newest first, whenever they were stored."""
        return self._index.search_steps(topic, key, count_max, 0, 1 << 62)

    def query_steps(self, topic: str, key: str, count_max: int, begin: int, end: int, safe_offset: int) -> Steps[QueryResult]:
        """Records of a topic that carry a key, at most `count_max`; collisions of the hash are filtered out.

        Source: DefaultMessageStore.queryMessage, IndexService.queryOffset (5.3).
        """
        result = QueryResult()
        wanted = key.encode()
        count_max = min(count_max, self._config.max_msgs_num_batch)
        limit = count_max
        records: dict[int, bytes] = {}
        for _ in range(_QUERY_ROUNDS):
            offsets = yield from self._index.search_steps(topic, key, limit, begin, end)
            for physical_offset in offsets:
                if physical_offset in records or len(records) >= count_max:
                    continue
                data = yield from self.record_at_steps(physical_offset, safe_offset)
                if data is not None and _carries(RecordView(data), topic, wanted):
                    records[physical_offset] = bytes(data)
            if len(records) >= count_max or len(offsets) < limit:
                break
            # Others with the same hash took the places: look further back.
            limit *= 8
        result.records = [records[offset] for offset in sorted(records)]
        result.index_last_update_timestamp, result.index_last_update_phyoffset = self._index.last_update
        return result


def _read_ahead(units: bytes | bytearray | memoryview, physical_offset: int, count_max: int) -> int:
    """How far to read the log with the record at `physical_offset`: physical offset of the end, 0 for that record alone.

    A system call costs as much as copying some 30 KB, and other queues' records in between are asked for as well, most
    of the time. So where the next records of this queue lie close, a whole window is read.
    """
    end = useful = close = 0
    for offset, size, _ in iterate_units(units):
        if offset < physical_offset or size == FILLER_SIZE:
            continue
        if offset + size - physical_offset > _DENSITY * (useful + size):
            break
        end = offset + size
        useful += size
        close += 1
        if close >= count_max:
            break
    return physical_offset + _READ_AHEAD_BYTES if close >= _READ_AHEAD_MIN else end


def _carries(view: RecordView, topic: str, key: bytes) -> bool:
    return view.topic == topic and key in index_keys(view.properties, 0, True)
