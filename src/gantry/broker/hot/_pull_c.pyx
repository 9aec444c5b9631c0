# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Pulls that find messages in memory, answered by the compiled engine; all others are `processor/pull_message.py`'s.

In memory are the newest entries and records, and what was read lately from files. Which pulls are common, `pull_rules.py`
says; what is answered is, byte for byte, what the processor would answer.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from gantry.broker.hot._headers_c cimport (
    COMMIT_OFFSET,
    EXPRESSION_TYPE,
    GROUP,
    MAX_BYTES,
    MAX_NUMS,
    PROXY_CLIENT,
    PULL_MESSAGE,
    PULL_REQUIRED,
    QUEUE_ID,
    QUEUE_OFFSET,
    SUB_VERSION,
    SUBSCRIPTION,
    SUSPEND_MS,
    SYS_FLAG,
    TOPIC,
    Header,
    get4,
    get8,
    put4,
    put_binary_head,
    put_json_end,
    put_json_middle,
    put_number,
    put_prefix,
    put_text,
    read_number,
)
from gantry.broker.hot.gates cimport pulls_are_common
from gantry.store._append_c cimport HotTail, QueueTail, Spans, crc32
from gantry.store.commit_log cimport LogFile

cdef extern from "gantry/_core/fast_bytes.h":
    void gantry_prefetch(const uint8_t* p, size_t size) nogil

from gantry.model import names

from ..client_manager.consumer_manager import COMPENSATION_RENEWED_MS
from ..offset.consumer_offset_manager import SEPARATOR
from ..processor.pull_message import BODY_BYTES_MAX
from .pull_rules import COMMIT_OFFSET as _COMMIT_OFFSET, OWN_SUBSCRIPTION as _OWN_SUBSCRIPTION
from .pull_rules import own_subscription, pull_rule

cdef int64_t COMMITS = _COMMIT_OFFSET
cdef int64_t OWN = _OWN_SUBSCRIPTION
cdef int64_t BODY_MAX = BODY_BYTES_MAX
cdef int64_t RENEWED_MS = COMPENSATION_RENEWED_MS
cdef int64_t BYTES_MIN = 100
cdef Py_ssize_t COUNT_MAX = 1024
cdef int UNIT_SIZE = 20
cdef int32_t FILLER_SIZE = 0x7FFFFFFF
cdef uint32_t MAGIC_V1 = 0xDAA320A7
cdef uint32_t MAGIC_V2 = 0xDAA320AB
cdef int64_t MASTER_ID = names.MASTER_ID
cdef int64_t DENSITY = 16
cdef int WARMED_MAX = 4  # pieces that are read for one pull
cdef Py_ssize_t AHEAD_MAX = 512  # bytes of the next record that are asked for early
cdef int64_t QUEUE_ID_END = 1 << 16
cdef Py_ssize_t LANES_MAX = 65536


cdef class PullLane:
    """One group in one topic, with the rule as last seen."""

    def __cinit__(self):
        self.queues = []
        self.queue_changes = -1
        self.renewed_ms = -RENEWED_MS

    def __dealloc__(self):
        free(self.slots)

    cdef int reserve(self, Py_ssize_t count) except -1:
        cdef PullSlot* grown
        if count > self.slot_count:
            grown = <PullSlot*>realloc(self.slots, count * sizeof(PullSlot))
            if grown == NULL:
                raise MemoryError
            memset(grown + self.slot_count, 0, (count - self.slot_count) * sizeof(PullSlot))
            self.slots = grown
            self.slot_count = count
        return 0


cdef class PullDesk:
    """Answers pulls for one broker."""

    def __cinit__(self):
        self._lanes = {}
        self._counted = []
        self._places = <const uint8_t**>malloc(COUNT_MAX * sizeof(uint8_t*))
        self._sizes = <Py_ssize_t*>malloc(COUNT_MAX * sizeof(Py_ssize_t))
        if self._places == NULL or self._sizes == NULL:
            raise MemoryError

    def __init__(self, broker):
        self._broker = broker
        self._clock = broker.clock
        self._topics = broker.topics
        self._subscriptions = broker.subscriptions
        self._consumers = broker.consumers
        self._offsets = broker.offsets
        self._config = broker.store.config
        self._limits.changes = -1
        self._store_stats = broker.store.stats
        self._log = broker.store.commit_log
        self._hot_tail = self._log.hot_tail
        self._spans = self._log.spans
        self._queue_table = broker.store.queue_table
        self._reader = broker.store.reader

    def __dealloc__(self):
        free(self._places)
        free(self._sizes)

    cdef int _read_limits(self) except -1:
        config = self._config
        self._limits.changes = config.changes
        self._limits.scan_count = config.max_filter_message_size // UNIT_SIZE
        self._limits.in_memory = config.in_memory_bytes
        self._limits.hot_area = config.hot_area_bytes
        self._limits.hot_bytes = config.max_transfer_bytes_on_message_in_memory
        self._limits.hot_count = config.max_transfer_count_on_message_in_memory
        self._limits.cold_bytes = config.max_transfer_bytes_on_message_in_disk
        self._limits.cold_count = config.max_transfer_count_on_message_in_disk
        self._limits.verify = config.verify_crc_on_read
        return 0

    cdef bytes answer(self, Header* header, uint8_t serialize_type, channel):
        """The whole frame of the answer; None leaves the pull, of which nothing was done then, to others."""
        cdef int64_t queue_id, offset, count_max, flags, commit_offset, ignored, bytes_max = BODY_MAX
        cdef int64_t min_offset, max_offset, now_ms
        cdef int i
        cdef bint own
        cdef PullLane lane
        cdef QueueTail queue
        cdef Gathered found
        cdef bytes made
        cdef list held = []
        if header.flag & 3:
            return None
        for i in range(PULL_REQUIRED):
            if header.field[i].at == NULL:
                return None
        if header.field[PROXY_CLIENT].at != NULL:
            return None
        if (
            not read_number(&header.field[QUEUE_ID], &queue_id, 9)
            or not read_number(&header.field[QUEUE_OFFSET], &offset, 18)
            or not read_number(&header.field[MAX_NUMS], &count_max, 9)
            or not read_number(&header.field[SYS_FLAG], &flags, 9)
            or not read_number(&header.field[COMMIT_OFFSET], &commit_offset, 18)
            or not read_number(&header.field[SUSPEND_MS], &ignored, 18)
        ):
            return None
        if header.field[MAX_BYTES].at != NULL:
            if not read_number(&header.field[MAX_BYTES], &bytes_max, 9):
                return None
            if bytes_max > BODY_MAX:
                bytes_max = BODY_MAX
        if bytes_max < BYTES_MIN:
            bytes_max = BYTES_MIN
        if count_max < 1:
            count_max = 1
        own = (flags & OWN) != 0
        lane = self._lane(header, own)
        if lane is None or queue_id >= lane.read_queue_nums or queue_id >= QUEUE_ID_END:
            return None
        queue = self._queue(lane, queue_id)
        if queue is None:
            return None
        if queue.checked_physical_min != (
            (<LogFile>self._log.files[0]).start if self._log.files else self._log.wrote_offset
        ):
            return None
        max_offset = queue.visible_offset
        min_offset = queue.min_offset
        if min_offset > max_offset:
            min_offset = max_offset
        if offset < min_offset or offset >= max_offset:
            return None
        if not self._gather(lane, queue, offset, max_offset, count_max, bytes_max, held, &found):
            return None
        made = self._encode(header, serialize_type, lane, &found, min_offset, max_offset)
        if own:
            now_ms = self._clock.monotonic_ms()
            if now_ms - lane.renewed_ms >= RENEWED_MS:
                lane.renewed_ms = now_ms
                self._consumers.compensate_subscription(lane.group_name, lane.topic_name, lane.rule.subscription)
        if flags & COMMITS:
            self._offsets.commit(
                lane.group_name, lane.topic_name, queue_id, min(commit_offset, max_offset), channel.remote_address
            )
        self._count(lane, queue_id, &found)
        offsets = self._offsets.pull_table.get(lane.offsets_key)
        if offsets is None:
            self._offsets.commit_pull(lane.group_name, lane.topic_name, queue_id, found.next_offset)
        else:
            offsets[queue_id] = found.next_offset
        self._store_stats.count_get(found.count)
        return made

    cdef int _count(self, PullLane lane, int64_t queue_id, Gathered* found) except -1:
        cdef PullSlot* slot
        if queue_id >= lane.slot_count:
            lane.reserve(<Py_ssize_t>queue_id + 1)
        slot = &lane.slots[queue_id]
        slot.messages += found.count
        slot.bytes += found.size
        slot.requests += 1
        if not slot.counted:
            slot.counted = True
            self._counted.append((lane, queue_id))
        return 0

    cdef list take_gets(self):
        cdef PullLane lane
        cdef PullSlot* slot
        cdef int64_t queue_id
        cdef list taken = []
        if self._counted:
            for lane, queue_id in self._counted:
                slot = &lane.slots[queue_id]
                taken.append((lane.group_name, lane.topic_name, queue_id, slot.messages, slot.bytes, slot.requests))
                memset(slot, 0, sizeof(PullSlot))
            self._counted = []
        return taken

    def answer_held(self, held):
        """The whole frame of the answer to a pull that waited; None when the processor must run it again.

        What it commits was committed before it waited.
        """
        cdef Header header
        cdef list texts = []
        request, pull, channel = held.request, held.header, held.context.channel
        if channel.closed or channel.write_paused or not pulls_are_common(self._broker):
            return None
        memset(&header, 0, sizeof(header))
        header.code = PULL_MESSAGE
        header.opaque = request.opaque
        header.flag = request.flag
        try:
            _say(&header, GROUP, pull.consumer_group, texts)
            _say(&header, TOPIC, pull.topic, texts)
            _say(&header, QUEUE_ID, pull.queue_id, texts)
            _say(&header, QUEUE_OFFSET, pull.queue_offset, texts)
            _say(&header, MAX_NUMS, pull.max_msg_nums, texts)
            _say(&header, SYS_FLAG, pull.sys_flag & ~<int64_t>COMMITS, texts)
            _say(&header, COMMIT_OFFSET, 0, texts)
            _say(&header, SUSPEND_MS, 0, texts)
            _say(&header, SUB_VERSION, pull.sub_version, texts)
            _say(&header, SUBSCRIPTION, pull.subscription, texts)
            _say(&header, EXPRESSION_TYPE, pull.expression_type, texts)
            _say(&header, MAX_BYTES, pull.max_msg_bytes, texts)
        except UnicodeEncodeError:
            return None
        return self.answer(&header, <uint8_t>request.serialize_type, channel)

    # -- who asks

    cdef PullLane _lane(self, Header* header, bint own):
        cdef PullLane lane = self._last
        cdef Py_ssize_t group_size = header.field[GROUP].size, topic_size = header.field[TOPIC].size
        cdef const char* last
        cdef bytes key
        cdef bint same = False
        if lane is not None and lane.own == own and PyBytes_GET_SIZE(self._last_key) == group_size + topic_size + 2:
            last = PyBytes_AS_STRING(self._last_key)
            same = (
                memcmp(last + 1, header.field[GROUP].at, group_size) == 0
                and last[group_size + 1] == 0
                and memcmp(last + group_size + 2, header.field[TOPIC].at, topic_size) == 0
            )
        if not same:
            key = (
                (b"\x01" if own else b"\x00")
                + PyBytes_FromStringAndSize(<char*>header.field[GROUP].at, group_size)
                + b"\x00"
                + PyBytes_FromStringAndSize(<char*>header.field[TOPIC].at, topic_size)
            )
            lane = <PullLane>self._lanes.get(key)
            if lane is None:
                lane = self._new_lane(key, header, own)
                if lane is None:
                    return None
            self._last = lane
            self._last_key = key
        if not self._still_holds(lane, header):
            key = self._last_key
            self._last = None
            self._lanes.pop(key, None)
            lane = self._new_lane(key, header, own)
            if lane is None or not self._still_holds(lane, header):
                return None
            self._last = lane
            self._last_key = key
        return lane

    cdef PullLane _new_lane(self, bytes key, Header* header, bint own):
        cdef PullLane lane
        cdef int i
        cdef int64_t version = 0
        cdef str group = PyBytes_FromStringAndSize(<char*>header.field[GROUP].at, header.field[GROUP].size).decode()
        cdef str topic = PyBytes_FromStringAndSize(<char*>header.field[TOPIC].at, header.field[TOPIC].size).decode()
        subscription = None
        cdef bytes text = b"", kind = b""
        if own:
            if not read_number(&header.field[SUB_VERSION], &version, 18):
                return None
            if header.field[SUBSCRIPTION].at != NULL:
                text = PyBytes_FromStringAndSize(<char*>header.field[SUBSCRIPTION].at, header.field[SUBSCRIPTION].size)
            if header.field[EXPRESSION_TYPE].at != NULL:
                kind = PyBytes_FromStringAndSize(<char*>header.field[EXPRESSION_TYPE].at, header.field[EXPRESSION_TYPE].size)
            subscription = own_subscription(topic, text.decode(), kind.decode() or None, version)
            if subscription is None:
                return None
        rule = pull_rule(self._broker, group, topic, subscription)
        if rule is None:
            return None
        lane = PullLane()
        lane.group_name = group
        lane.topic_name = topic
        lane.offsets_key = topic + SEPARATOR + group
        lane.rule = rule
        lane.own = own
        lane.own_text = text
        lane.own_type = kind
        lane.own_version = version
        lane.read_queue_nums = rule.topic.read_queue_nums
        lane.topic_sys_flag = rule.topic.topic_sys_flag
        lane.group_sys_flag = rule.group.group_sys_flag
        lane.consume_enable = rule.group.consume_enable
        lane.broadcast_enable = rule.group.consume_broadcast_enable
        lane.code_count = len(rule.codes)
        for i in range(lane.code_count):
            lane.codes[i] = rule.codes[i]
        if len(self._lanes) >= LANES_MAX:
            self._lanes.clear()
        self._lanes[key] = lane
        return lane

    cdef bint _still_holds(self, PullLane lane, Header* header) except -1:
        cdef int64_t version
        rule = lane.rule
        if self._topics.table.get(lane.topic_name) is not rule.topic:
            return False
        if self._subscriptions.table.get(lane.group_name) is not rule.group or not lane.consume_enable:
            return False
        if not read_number(&header.field[SUB_VERSION], &version, 18):
            return False
        if lane.own:
            return (
                version == lane.own_version
                and _is(header, SUBSCRIPTION, lane.own_text)
                and _is(header, EXPRESSION_TYPE, lane.own_type)
            )
        info = self._consumers.group_info(lane.group_name)
        if info is None or info.subscription(lane.topic_name) is not rule.subscription:
            return False
        if rule.subscription.sub_version < version:
            return False
        return lane.broadcast_enable or not info.is_broadcasting

    cdef QueueTail _queue(self, PullLane lane, int64_t queue_id):
        cdef Py_ssize_t at = <Py_ssize_t>queue_id
        if lane.queue_changes != <int64_t>self._queue_table.changes:
            lane.queue_changes = self._queue_table.changes
            lane.queues = []
        while len(lane.queues) <= at:
            lane.queues.append(None)
        queue = lane.queues[at]
        if queue is None:
            queue = self._queue_table.find(lane.topic_name, queue_id)
            lane.queues[at] = queue
        return <QueueTail>queue

    # -- what is there

    cdef bint _gather(self, PullLane lane, QueueTail queue, int64_t offset, int64_t max_offset, int64_t count_max,
                      int64_t bytes_max, list held, Gathered* found) except -1:
        """Finds the records; False when the first of them is not in memory, or there is none. Source: as Reader._fill."""
        cdef int64_t scan_end, position = offset, physical, code, wrote = self._log.wrote_offset
        cdef PullLimits* limits = &self._limits
        cdef int32_t size
        cdef const uint8_t* units
        cdef Py_ssize_t left = 0, begin = 0, ahead
        cdef bytes block, piece, last_piece = None
        cdef bint matches, from_file
        cdef int warmed = 0
        cdef int i
        cdef const uint8_t* record
        found.count = 0
        found.size = 0
        found.next_offset = offset
        if limits.changes != <int64_t>self._config.changes:
            self._read_limits()
        scan_end = offset + max(limits.scan_count, count_max)
        if scan_end > max_offset:
            scan_end = max_offset
        while position < scan_end:
            if left == 0:
                units = queue.units(position, &left)
                if units == NULL:
                    block = queue.read_block
                    begin = <Py_ssize_t>((position - <int64_t>queue.read_block_offset) * UNIT_SIZE)
                    if begin < 0 or begin + UNIT_SIZE > PyBytes_GET_SIZE(block):
                        if not self._reader.warm_queue(queue, position):
                            break
                        block = queue.read_block
                        begin = <Py_ssize_t>((position - <int64_t>queue.read_block_offset) * UNIT_SIZE)
                        if begin < 0 or begin + UNIT_SIZE > PyBytes_GET_SIZE(block):
                            break
                    units = <const uint8_t*>PyBytes_AS_STRING(block) + begin
                    left = (PyBytes_GET_SIZE(block) - begin) // UNIT_SIZE
            physical = <int64_t>get8(units)
            size = <int32_t>get4(units + 8)
            code = <int64_t>get8(units + 12)
            if size == FILLER_SIZE or size <= 0:
                break
            matches = lane.code_count == 0
            for i in range(lane.code_count):
                if lane.codes[i] == code:
                    matches = True
                    break
            if found.count:
                # As in the processor, a limit is looked at before the filter.
                if found.count + 1 > count_max or found.size + size > bytes_max:
                    break
                if wrote - physical <= limits.in_memory:
                    if found.size + size > limits.hot_bytes or found.count >= limits.hot_count:
                        break
                elif found.size + size > limits.cold_bytes or found.count >= limits.cold_count:
                    break
            if matches:
                if found.count >= COUNT_MAX or wrote - physical > limits.hot_area:
                    break  # cold data is counted by the processor
                piece = self._hot_tail.chunk_of(physical, size, &begin)
                from_file = piece is None
                if from_file:
                    piece = self._spans.piece_of(physical, size, &begin)
                    if piece is None:
                        if warmed >= WARMED_MAX or not _is_dense(units, min(left, count_max - found.count), physical, size):
                            break
                        if not self._reader.warm_log(physical):
                            break
                        warmed += 1
                        piece = self._spans.piece_of(physical, size, &begin)
                        if piece is None:
                            break
                    if piece is not last_piece:
                        # Reading ahead may push the pieces out that the answer is still to be made of.
                        held.append(piece)
                        last_piece = piece
                record = <const uint8_t*>PyBytes_AS_STRING(piece) + begin
                if left > 1:
                    # The next record comes from memory that is not in the processor's caches yet, as a rule.
                    begin += <Py_ssize_t>(<int64_t>get8(units + UNIT_SIZE) - physical)
                    ahead = PyBytes_GET_SIZE(piece) - begin
                    if begin > 0 and ahead > 0:
                        gantry_prefetch(<const uint8_t*>PyBytes_AS_STRING(piece) + begin, min(ahead, AHEAD_MAX))
                if from_file and not _is_record(record, size, physical, limits.verify):
                    break
                self._places[found.count] = record
                self._sizes[found.count] = size
                found.count += 1
                found.size += size
            position += 1
            found.next_offset = position
            units += UNIT_SIZE
            left -= 1
        return found.count > 0

    # -- the answer

    cdef bytes _encode(self, Header* header, uint8_t serialize_type, PullLane lane, Gathered* found, int64_t min_offset,
                       int64_t max_offset):
        cdef uint8_t head[1024]  # names and numbers only: at most 600 bytes
        cdef uint8_t* p = &head[0] + 8
        cdef uint8_t* ext
        cdef uint8_t* mark
        cdef Py_ssize_t i, head_size
        cdef bytes made
        cdef uint8_t* out
        if serialize_type == 0:
            p = put_text(p, '{"code":0,"extFields":{"suggestWhichBrokerId":"', 47)
            p = put_number(p, MASTER_ID)
            p = put_text(p, '","nextBeginOffset":"', 21)
            p = put_number(p, found.next_offset)
            p = put_text(p, '","minOffset":"', 15)
            p = put_number(p, min_offset)
            p = put_text(p, '","maxOffset":"', 15)
            p = put_number(p, max_offset)
            p = put_text(p, '","topicSysFlag":"', 18)
            p = put_number(p, lane.topic_sys_flag)
            p = put_text(p, '","groupSysFlag":"', 18)
            p = put_number(p, lane.group_sys_flag)
            p = put_text(p, '"}', 2)
            p = put_json_middle(p, header.opaque)
            p = put_text(p, ',"remark":"FOUND"', 17)
            p = put_json_end(p)
        else:
            p = put_binary_head(p, 0, header.opaque)
            p = put4(p, 5)
            p = put_text(p, "FOUND", 5)
            ext = p
            p += 4
            p = put_text(p, "\x00\x14suggestWhichBrokerId", 22)
            mark = p
            p = put_number(p + 4, MASTER_ID)
            put4(mark, <uint32_t>(p - mark - 4))
            p = put_text(p, "\x00\x0fnextBeginOffset", 17)
            mark = p
            p = put_number(p + 4, found.next_offset)
            put4(mark, <uint32_t>(p - mark - 4))
            p = put_text(p, "\x00\x09minOffset", 11)
            mark = p
            p = put_number(p + 4, min_offset)
            put4(mark, <uint32_t>(p - mark - 4))
            p = put_text(p, "\x00\x09maxOffset", 11)
            mark = p
            p = put_number(p + 4, max_offset)
            put4(mark, <uint32_t>(p - mark - 4))
            p = put_text(p, "\x00\x0ctopicSysFlag", 14)
            mark = p
            p = put_number(p + 4, lane.topic_sys_flag)
            put4(mark, <uint32_t>(p - mark - 4))
            p = put_text(p, "\x00\x0cgroupSysFlag", 14)
            mark = p
            p = put_number(p + 4, lane.group_sys_flag)
            put4(mark, <uint32_t>(p - mark - 4))
            put4(ext, <uint32_t>(p - ext - 4))
        head_size = p - &head[0]
        put_prefix(&head[0], p, found.size, serialize_type)
        made = PyBytes_FromStringAndSize(NULL, head_size + found.size)
        out = <uint8_t*>PyBytes_AS_STRING(made)
        memcpy(out, &head[0], head_size)
        out += head_size
        for i in range(found.count):
            memcpy(out, self._places[i], self._sizes[i])
            out += self._sizes[i]
        return made


cdef int _say(Header* header, int field, value, list texts) except -1:
    """The field has this value as its text, which lives as long as `texts`; None leaves it out."""
    cdef bytes text
    if value is not None:
        text = str(value).encode()
        texts.append(text)
        header.field[field].at = <const uint8_t*>PyBytes_AS_STRING(text)
        header.field[field].size = PyBytes_GET_SIZE(text)
    return 0


cdef bint _is_dense(const uint8_t* units, int64_t count, int64_t physical_offset, int32_t size) noexcept nogil:
    """The next entries lie so close together that reading all that is between them is cheaper than reading each."""
    cdef int64_t last
    if count < 2:
        return False
    if count > 32:
        count = 32
    last = <int64_t>get8(units + (count - 1) * UNIT_SIZE)
    return last > physical_offset and last - physical_offset <= DENSITY * count * size


cdef bint _is(Header* header, int field, bytes text) noexcept:
    """The field has this text; a missing one counts as empty."""
    cdef Py_ssize_t size = header.field[field].size if header.field[field].at != NULL else 0
    return size == PyBytes_GET_SIZE(text) and (size == 0 or memcmp(header.field[field].at, PyBytes_AS_STRING(text), size) == 0)


cdef bint _is_record(const uint8_t* p, int32_t size, int64_t physical_offset, bint verify) noexcept nogil:
    """The bytes are that record, whole; else the processor reads again, and says what is wrong."""
    cdef uint32_t magic, flags
    cdef Py_ssize_t at
    cdef int32_t body_size
    if size < 91 or <int32_t>get4(p) != size or <int64_t>get8(p + 28) != physical_offset:
        return False
    magic = get4(p + 4)
    if magic != MAGIC_V1 and magic != MAGIC_V2:
        return False
    if not verify:
        return True
    flags = get4(p + 36)
    at = 84 + (12 if flags & 0x10 else 0) + (12 if flags & 0x20 else 0)
    if at + 4 > size:
        return False
    body_size = <int32_t>get4(p + at)
    if body_size < 0 or body_size > size - at - 4:
        return False
    return body_size == 0 or (crc32(p + at + 4, body_size) & 0x7FFFFFFF) == get4(p + 8)
