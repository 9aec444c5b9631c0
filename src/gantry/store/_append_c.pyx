# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The append compiled: the same classes as in `_append_plan_py.py`, `_hot_tail_py.py` and `_queue_tail_py.py`, which say what they do.

`AppendPlan.lay_out` is the one way in that the pure twin does not have: the compiled engine hands a message over without an
object for it. Nothing here makes a system call.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove

cdef extern from "gantry/_core/fast_bytes.h":
    void gantry_crc_begin() nogil
    uint32_t gantry_crc32(const uint8_t* p, size_t size) nogil
    size_t gantry_next_separator(const uint8_t* p, size_t at, size_t size) nogil

from gantry.store._pending_keys_c cimport PendingKeys, java_hash_utf8

from gantry._core import java_string_hash
from gantry.errors import MessageIllegal
from gantry.model import StoreMessage
from gantry.model import sys_flag as _sys_flag
from gantry.model.topic_validator import SCHEDULE_TOPIC
from gantry.protocol.disk.index_layout import key_hash
from gantry.protocol.message.message_id import encode_host
from gantry.protocol.message.record import record_parts

from ._append_plan_py import check_batch, check_fits, check_message, new_row, LogRange
from .dispatch import enters_queue, index_keys, queue_tags_code
from .results import PlannedRecord
from .torn import ZERO_RUN_MAX as _ZERO_RUN_MAX

cdef int UNIT_SIZE = 20
cdef int32_t FILLER_SIZE = 0x7FFFFFFF
cdef Py_ssize_t BLANK_SIZE = 8
cdef uint32_t MAGIC_BLANK = 0xCBD43194
cdef Py_ssize_t PROPERTIES_SIZE_MAX = 32767
cdef Py_ssize_t HEAD_SIZE = 88
cdef Py_ssize_t TOPIC_FIELD_MAX = 2 + 255
cdef int32_t BORN_HOST_V6 = _sys_flag.BORN_HOST_V6
cdef int32_t STORE_HOST_V6 = _sys_flag.STORE_HOST_V6
cdef int32_t HOST_BITS = BORN_HOST_V6 | STORE_HOST_V6
cdef int32_t TRANSACTION_MASK = _sys_flag.TRANSACTION_MASK
cdef Py_ssize_t ZERO_RUN_MAX = _ZERO_RUN_MAX
cdef Py_ssize_t BUFFER_KEPT = 1 << 20
cdef Py_ssize_t COMPACT_COUNT = 4096


cdef inline void put2(uint8_t* p, uint32_t v) noexcept nogil:
    p[0] = <uint8_t>(v >> 8)
    p[1] = <uint8_t>v


cdef inline void put4(uint8_t* p, uint32_t v) noexcept nogil:
    p[0] = <uint8_t>(v >> 24)
    p[1] = <uint8_t>(v >> 16)
    p[2] = <uint8_t>(v >> 8)
    p[3] = <uint8_t>v


cdef inline void put8(uint8_t* p, uint64_t v) noexcept nogil:
    put4(p, <uint32_t>(v >> 32))
    put4(p + 4, <uint32_t>v)


# --- CRC-32

gantry_crc_begin()


cdef uint32_t crc32(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    return gantry_crc32(p, <size_t>size)


# --- text

cdef bint is_utf8(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    """Whether Python would decode it: no overlong forms, no surrogates, nothing above U+10FFFF."""
    cdef Py_ssize_t i = 0
    cdef uint8_t c, d
    while i < size:
        c = p[i]
        if c < 0x80:
            i += 1
        elif c < 0xC2:
            return False
        elif c < 0xE0:
            if size - i < 2 or (p[i + 1] & 0xC0) != 0x80:
                return False
            i += 2
        elif c < 0xF0:
            if size - i < 3 or (p[i + 1] & 0xC0) != 0x80 or (p[i + 2] & 0xC0) != 0x80:
                return False
            d = p[i + 1]
            if (c == 0xE0 and d < 0xA0) or (c == 0xED and d >= 0xA0):
                return False
            i += 3
        elif c < 0xF5:
            if size - i < 4 or (p[i + 1] & 0xC0) != 0x80 or (p[i + 2] & 0xC0) != 0x80 or (p[i + 3] & 0xC0) != 0x80:
                return False
            d = p[i + 1]
            if (c == 0xF0 and d < 0x90) or (c == 0xF4 and d >= 0x90):
                return False
            i += 4
        else:
            return False
    return True


cdef inline bint _ends_with(const uint8_t* data, Py_ssize_t end, const char* name, Py_ssize_t size) noexcept nogil:
    return end >= size and memcmp(data + end - size, name, size) == 0


cdef bint _looks_torn(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    """More zero bytes in a row than a store takes; what ends in one gets a separator behind it here."""
    cdef Py_ssize_t i = ZERO_RUN_MAX, low
    # Every run that is too long has one of these places in it.
    while i < size:
        if data[i] == 0:
            low = i
            while low > 0 and data[low - 1] == 0:
                low -= 1
            while i + 1 < size and data[i + 1] == 0:
                i += 1
            if i - low >= ZERO_RUN_MAX:
                return True
        i += ZERO_RUN_MAX
    return False


cdef void scan_properties(const uint8_t* data, Py_ssize_t size, Scan* scan) noexcept nogil:
    """What the hot path asks of a property string, in one walk; see `_hot_py.py` for the names.

    A value is that of the last pair of its name that is not empty, as in find_property. `rare` and `names_unique` look for the
    names with their separator anywhere, also inside a value.
    """
    cdef Py_ssize_t i, begin = 0, name_end = -1, n
    cdef uint8_t c, last
    cdef const uint8_t* name
    cdef Found* found
    scan.unique.at = scan.tags.at = scan.keys.at = scan.wait.at = NULL
    scan.unique.size = scan.tags.size = scan.keys.size = scan.wait.size = 0
    scan.rare = scan.names_unique = scan.is_fifo = False
    i = 0
    while i <= size:
        i = <Py_ssize_t>gantry_next_separator(data, <size_t>i, <size_t>size)
        c = data[i] if i < size else 2
        if c == 0:
            i += 1
            continue
        if c == 1:
            if name_end < 0:
                name_end = i
            if i > 0:
                last = data[i - 1]
                if last == c'Y':
                    if _ends_with(data, i, "UNIQ_KEY", 8):
                        scan.names_unique = True
                    elif _ends_with(data, i, "DELAY", 5):
                        scan.rare = True
                elif last == c'G':
                    if _ends_with(data, i, "TRAN_MSG", 8):
                        scan.rare = True
                elif last == c'K':
                    if _ends_with(data, i, "POP_CK", 6):
                        scan.rare = True
                elif last == c'M':
                    if _ends_with(data, i, "INNER_NUM", 9):
                        scan.rare = True
                elif last == c'R':
                    if _ends_with(data, i, "CLUSTER", 7):
                        scan.rare = True
                elif last == c'N':
                    if _ends_with(data, i, "MSG_REGION", 10) or _ends_with(data, i, "TRACE_ON", 8):
                        scan.rare = True
                elif last == c'S':
                    if _ends_with(data, i, "TIMER_DELAY_MS", 14) or _ends_with(data, i, "TIMER_DELIVER_MS", 16):
                        scan.rare = True
                elif last == c'C':
                    if _ends_with(data, i, "TIMER_DELAY_SEC", 15):
                        scan.rare = True
                elif last == c'_':
                    if _ends_with(data, i, "_SYS_MSG_PRIORITY_", 18):
                        scan.rare = True
        else:
            if name_end >= 0 and i > name_end + 1:
                name = data + begin
                n = name_end - begin
                found = NULL
                if n == 8:
                    if memcmp(name, "UNIQ_KEY", 8) == 0:
                        found = &scan.unique
                elif n == 4:
                    if memcmp(name, "TAGS", 4) == 0:
                        found = &scan.tags
                    elif memcmp(name, "KEYS", 4) == 0:
                        found = &scan.keys
                    elif memcmp(name, "WAIT", 4) == 0:
                        found = &scan.wait
                elif n == 13:
                    if memcmp(name, "__SHARDINGKEY", 13) == 0:
                        scan.is_fifo = True
                if found != NULL:
                    found.at = data + name_end + 1
                    found.size = i - name_end - 1
            begin = i + 1
            name_end = -1
        i += 1
    if size > ZERO_RUN_MAX and _looks_torn(data, size):
        scan.rare = True


# --- the newest entries of a queue

cdef class QueueTail:
    def __cinit__(self):
        self.last_physical_end = -1

    def __dealloc__(self):
        free(self._data)

    cdef int _reserve(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t held = self._end - self._begin, capacity
        cdef uint8_t* data
        if self._end + more <= self._capacity:
            return 0
        if self._begin and held + more <= self._capacity and self._begin >= held:
            memmove(self._data, self._data + self._begin, held)
        else:
            capacity = self._capacity if self._capacity else 4 * UNIT_SIZE
            while capacity < held + more:
                capacity *= 2
            data = <uint8_t*>malloc(capacity)
            if data == NULL:
                raise MemoryError
            if held:
                memcpy(data, self._data + self._begin, held)
            free(self._data)
            self._data = data
            self._capacity = capacity
        self._begin = 0
        self._end = held
        return 0

    cdef int push(self, int64_t physical_offset, int32_t size, int64_t tags_code) except -1:
        cdef uint8_t* p
        if self._end + UNIT_SIZE > self._capacity:
            self._reserve(UNIT_SIZE)
        p = self._data + self._end
        put8(p, <uint64_t>physical_offset)
        put4(p + 8, <uint32_t>size)
        put8(p + 12, <uint64_t>tags_code)
        self._end += UNIT_SIZE
        self.max_offset += 1
        self.last_physical_end = physical_offset + size
        self.dirty = True
        return 0

    cdef const uint8_t* units(self, int64_t offset, Py_ssize_t* count) noexcept:
        """Entries in memory from `offset` on, and how many; NULL when that one is not in memory."""
        if offset < self.tail_base or offset >= self.max_offset:
            return NULL
        count[0] = <Py_ssize_t>(self.max_offset - offset)
        return self._data + self._begin + (offset - self.tail_base) * UNIT_SIZE

    def begin_tail_at(self, int64_t offset):
        self.max_offset = self.planned_offset = self.visible_offset = self.tail_base = offset
        self._begin = self._end = 0

    def append(self, int64_t physical_offset, int32_t size, int64_t tags_code):
        self.push(physical_offset, size, tags_code)

    def append_fillers(self, int64_t count):
        cdef int64_t i
        cdef uint8_t* p
        self._reserve(count * UNIT_SIZE)
        for i in range(count):
            p = self._data + self._end
            put8(p, 0)
            put4(p + 8, <uint32_t>FILLER_SIZE)
            put8(p + 12, 0)
            self._end += UNIT_SIZE
        self.max_offset += count
        self.dirty = True

    def tail_units(self, int64_t offset, int64_t count):
        cdef Py_ssize_t begin = self._begin + (offset - self.tail_base) * UNIT_SIZE
        cdef Py_ssize_t size = count * UNIT_SIZE
        if offset < self.tail_base or begin >= self._end or count <= 0:
            return b""
        if size > self._end - begin:
            size = self._end - begin
        return PyBytes_FromStringAndSize(<char*>self._data + begin, size)

    def drop_tail_below(self, int64_t offset):
        cdef Py_ssize_t held, capacity
        cdef uint8_t* data
        if offset <= self.tail_base:
            return
        self._begin += (offset - self.tail_base) * UNIT_SIZE
        self.tail_base = offset
        if self._begin >= self._end:
            free(self._data)
            self._data = NULL
            self._begin = self._end = self._capacity = 0
            return
        held = self._end - self._begin
        if self._capacity > 4 * held:
            # A burst is over: what it needed is given back.
            capacity = 4 * UNIT_SIZE
            while capacity < held:
                capacity *= 2
            data = <uint8_t*>malloc(capacity)
            if data != NULL:
                memcpy(data, self._data + self._begin, held)
                free(self._data)
                self._data = data
                self._begin = 0
                self._end = held
                self._capacity = capacity

    @property
    def memory_bytes(self):
        return self._end - self._begin


# --- the newest bytes of the log

cdef class HotTail:
    def __cinit__(self, Py_ssize_t bytes_max):
        self._bytes_max = bytes_max

    def __dealloc__(self):
        self._drop_all()
        free(self._starts)
        free(self._chunks)

    def _drop_all(self):
        cdef Py_ssize_t i
        for i in range(self._first, self._count):
            Py_DECREF(<object>self._chunks[i])
        self._first = self._count = 0
        self._bytes = 0

    @property
    def size(self):
        return self._bytes

    def append(self, int64_t start, bytes data not None):
        cdef Py_ssize_t capacity
        cdef void* grown
        if self._count == self._capacity:
            if self._first >= COMPACT_COUNT and self._first * 2 > self._count:
                memmove(self._starts, self._starts + self._first, (self._count - self._first) * sizeof(int64_t))
                memmove(self._chunks, self._chunks + self._first, (self._count - self._first) * sizeof(PyObject*))
                self._count -= self._first
                self._first = 0
            else:
                capacity = self._capacity * 2 if self._capacity else 2 * COMPACT_COUNT
                grown = realloc(self._starts, capacity * sizeof(int64_t))
                if grown == NULL:
                    raise MemoryError
                self._starts = <int64_t*>grown
                grown = realloc(self._chunks, capacity * sizeof(PyObject*))
                if grown == NULL:
                    raise MemoryError
                self._chunks = <PyObject**>grown
                self._capacity = capacity
        Py_INCREF(data)
        self._starts[self._count] = start
        self._chunks[self._count] = <PyObject*>data
        self._count += 1
        self._bytes += PyBytes_GET_SIZE(data)
        while self._bytes > self._bytes_max and self._first < self._count:
            self._bytes -= PyBytes_GET_SIZE(<bytes>self._chunks[self._first])
            Py_DECREF(<object>self._chunks[self._first])
            self._first += 1
        if self._first == self._count:
            self._first = self._count = 0

    cdef bytes chunk_of(self, int64_t physical_offset, Py_ssize_t size, Py_ssize_t* begin):
        """The chunk that holds the whole range, and where it begins in it; None when there is none."""
        cdef Py_ssize_t low = self._first, high = self._count, middle
        cdef Py_ssize_t at
        if low == high or physical_offset < self._starts[low]:
            return None
        while high - low > 1:
            middle = (low + high) >> 1
            if self._starts[middle] <= physical_offset:
                low = middle
            else:
                high = middle
        at = <Py_ssize_t>(physical_offset - self._starts[low])
        if at + size > PyBytes_GET_SIZE(<bytes>self._chunks[low]):
            return None
        begin[0] = at
        return <bytes>self._chunks[low]

    def read(self, int64_t physical_offset, Py_ssize_t size):
        cdef Py_ssize_t begin = 0
        cdef bytes chunk = self.chunk_of(physical_offset, size, &begin)
        if chunk is None:
            return None
        return memoryview(chunk)[begin : begin + size]

    def clear(self):
        self._drop_all()


# --- pieces that were read lately

cdef class Spans:
    def __cinit__(self, Py_ssize_t count_max):
        if count_max < 1:
            raise ValueError("Spans: at least one piece is kept")
        self._count_max = count_max
        self._starts = <int64_t*>malloc(count_max * sizeof(int64_t))
        self._pieces = <PyObject**>malloc(count_max * sizeof(PyObject*))
        if self._starts == NULL or self._pieces == NULL:
            raise MemoryError

    def __dealloc__(self):
        self._drop_all()
        free(self._starts)
        free(self._pieces)

    def _drop_all(self):
        cdef Py_ssize_t i
        for i in range(self._count):
            Py_DECREF(<object>self._pieces[i])
        self._count = self._newest = 0

    def put(self, int64_t start, bytes data not None):
        cdef Py_ssize_t at
        Py_INCREF(data)
        if self._count < self._count_max:
            at = self._count
            self._count += 1
        else:
            at = (self._newest + 1) % self._count_max
            Py_DECREF(<object>self._pieces[at])
        self._starts[at] = start
        self._pieces[at] = <PyObject*>data
        self._newest = at

    cdef bytes piece_of(self, int64_t physical_offset, Py_ssize_t size, Py_ssize_t* begin):
        """The newest piece that holds the whole range, and where it begins in it; None when there is none."""
        cdef Py_ssize_t i, at = self._newest
        cdef int64_t begins
        for i in range(self._count):
            begins = physical_offset - self._starts[at]
            if begins >= 0 and begins + size <= PyBytes_GET_SIZE(<bytes>self._pieces[at]):
                begin[0] = <Py_ssize_t>begins
                return <bytes>self._pieces[at]
            at = at - 1 if at else self._count - 1
        return None

    def read(self, int64_t physical_offset, Py_ssize_t size):
        cdef Py_ssize_t begin = 0
        cdef bytes piece = self.piece_of(physical_offset, size, &begin)
        if piece is None:
            return None
        return memoryview(piece)[begin : begin + size]

    def clear(self):
        self._drop_all()


# --- plans

cdef class TopicRow:
    pass


cdef class PlanRules:
    def __cinit__(self, int64_t file_size, get_queue, delay_levels):
        self.file_size = file_size
        self.get_queue = get_queue
        self.delay_levels = delay_levels
        self._rows = {}

    def __dealloc__(self):
        free(self._buffer)

    cdef TopicRow row(self, str topic):
        """Raises: MessageIllegal."""
        cdef TopicRow row = <TopicRow>self._rows.get(topic)
        if row is None:
            magic, field = new_row(topic)
            row = TopicRow()
            row.topic = topic
            row.field = field
            row.magic = <uint32_t>(magic & 0xFFFFFFFF)
            row.key_seed = <uint32_t>(java_string_hash(topic + "#") & 0xFFFFFFFF)
            self._rows[topic] = row
        return row

    cdef uint8_t* room_for(self, Py_ssize_t used, Py_ssize_t more) except NULL:
        cdef Py_ssize_t capacity = self._capacity if self._capacity else 1 << 16
        cdef uint8_t* grown
        if self._buffer == NULL or used + more > self._capacity:
            while capacity < used + more:
                capacity *= 2
            grown = <uint8_t*>realloc(self._buffer, capacity)
            if grown == NULL:
                raise MemoryError
            self._buffer = grown
            self._capacity = capacity
        return self._buffer + used

    cdef void shrink(self) noexcept:
        if self._capacity > BUFFER_KEPT:
            free(self._buffer)
            self._buffer = NULL
            self._capacity = 0


cdef class AppendPlan:
    def __cinit__(self, PlanRules rules, int64_t start, int64_t store_timestamp, int64_t size_max, bint with_tags):
        self._rules = rules
        self.start = self.end = self._part_start = start
        self.store_timestamp = store_timestamp
        self.ranges = []
        self._kept = []
        self._size_max = size_max
        self._with_tags = with_tags
        self._room = rules.file_size - start % rules.file_size

    def __dealloc__(self):
        free(self._records)
        free(self._keys)

    @property
    def last_record(self):
        cdef Planned* record = &self._records[self.count - 1]
        return record.physical_offset, record.size

    @property
    def records(self):
        return [self._record_at(number) for number in range(self.count)]

    # --- laying out

    def add(self, message):
        topic, queue_id, body, properties, flag, flags, _, _, store_host, _, _, wait = message
        cdef TopicRow row = self._rules.row(topic)
        cdef Planned* record
        cdef QueueTail queue = None
        cdef int64_t queue_offset = 0
        cdef Py_ssize_t size, at
        cdef bytes data
        cdef int64_t code = 0
        check_message(message, self._size_max)
        transaction = flags & TRANSACTION_MASK
        if not transaction and self._lay_out_plain(row, message):
            return self._record_at(self.count - 1)
        if enters_queue(transaction):
            queue = self._rules.get_queue(topic, queue_id)
            queue_offset = queue.planned_offset
            code = queue_tags_code(topic, properties, self.store_timestamp, self._rules.delay_levels)
        size, _ = record_parts(message, queue_offset=0, physical_offset=0, store_timestamp=0)
        if size + BLANK_SIZE > self._room:
            check_fits(size, self._rules.file_size)
            self._roll()
        _, parts = record_parts(
            message, queue_offset=queue_offset, physical_offset=self.end, store_timestamp=self.store_timestamp
        )
        data = b"".join(parts)
        # Everything that can fail comes before the first change.
        keys = [
            key_hash(row.topic + "#" + key.decode("utf-8", "replace"))
            for key in index_keys(properties, transaction, self._with_tags)
        ]
        at = self._used
        memcpy(self._rules.room_for(at, size), PyBytes_AS_STRING(data), size)
        record = self._new_record()
        for key in keys:
            self._add_key(key)
        record.physical_offset = self.end
        record.queue_offset = queue_offset
        record.tags_code = code
        record.size = <int32_t>size
        record.queue_id = queue_id
        record.transaction_type = transaction
        record.range_number = <int32_t>len(self.ranges)
        record.properties_size = len(properties)
        record.properties_at = at + size - record.properties_size
        record.queue = <PyObject*>queue if queue is not None else NULL
        record.topic = <PyObject*>row.topic
        record.store_host = <PyObject*>store_host
        self._kept.append((queue, row, store_host))
        if queue is not None:
            queue.planned_offset = queue_offset + 1
        self._used += size
        self.end += size
        self._room -= size
        self.count += 1
        if wait:
            self.must_wait = True
        return self._record_at(self.count - 1)

    cdef bint _lay_out_plain(self, TopicRow row, message) except -1:
        """What add() does for a message that was checked and has a queue entry; False, and nothing done, for the rare rest."""
        topic, queue_id, body, properties, flag, flags, born_timestamp, born_host, store_host, reconsume, prepared, wait = message
        cdef Laid laid
        cdef Scan scan
        cdef QueueTail queue
        cdef Planned* record
        cdef bytes born, store, data
        cdef Py_ssize_t size
        cdef int64_t code = 0
        cdef bint delayed = topic == SCHEDULE_TOPIC
        if prepared or type(body) is not bytes or type(properties) is not bytes:
            return False
        data = properties
        laid.own = <const uint8_t*>PyBytes_AS_STRING(data)
        laid.own_size = PyBytes_GET_SIZE(data)
        if not is_utf8(laid.own, laid.own_size):
            return False
        born, store = encode_host(born_host), encode_host(store_host)
        laid.body = <const uint8_t*>PyBytes_AS_STRING(<bytes>body)
        laid.body_size = PyBytes_GET_SIZE(<bytes>body)
        size = (
            HEAD_SIZE - 16 + PyBytes_GET_SIZE(born) + PyBytes_GET_SIZE(store) + laid.body_size
            + PyBytes_GET_SIZE(row.field) + 2 + laid.own_size
        )
        if size + BLANK_SIZE > self._room:
            check_fits(size, self._rules.file_size)
        queue = self._rules.get_queue(topic, queue_id)
        if delayed:
            code = queue_tags_code(topic, properties, self.store_timestamp, self._rules.delay_levels)
        laid.own_open = False
        laid.shared = laid.own
        laid.shared_size = 0
        laid.born_host = <const uint8_t*>PyBytes_AS_STRING(born)
        laid.born_host_size = PyBytes_GET_SIZE(born)
        laid.store_host = <const uint8_t*>PyBytes_AS_STRING(store)
        laid.store_host_size = PyBytes_GET_SIZE(store)
        laid.born_timestamp = born_timestamp
        laid.queue_id = queue_id
        laid.flag = flag
        laid.sys_flag = flags
        laid.reconsume_times = reconsume
        scan_properties(laid.own, laid.own_size, &scan)
        laid.unique = scan.unique
        laid.tags = scan.tags
        laid.keys = scan.keys
        self.lay_out(row, queue, &laid)
        record = &self._records[self.count - 1]
        record.store_host = <PyObject*>store_host
        if delayed:
            record.tags_code = code
        self._kept.append((queue, row, store_host))
        if wait:
            self.must_wait = True
        return True

    def add_batch(self, messages):
        batch = list(messages)
        check_batch(batch, self._size_max, self._rules.file_size)
        return [self.add(message) for message in batch]

    @property
    def common_body_max(self):
        """See the pure twin."""
        cdef Py_ssize_t others = HEAD_SIZE + TOPIC_FIELD_MAX + 2 + ZERO_RUN_MAX + BLANK_SIZE
        return min(self._size_max, self._rules.file_size - others)

    def target(self, str topic, queue_id):
        """See the pure twin; opaque to others."""
        self._rules.row(topic)
        self._rules.get_queue(topic, queue_id)
        return topic, queue_id

    def add_common(self, list messages not None, born_host, store_host, wait):
        """See the pure twin. The compiled engine has a shorter way of its own."""
        places = []
        for target, flag, flags, reconsume_times, born_timestamp, body, properties, more, _, _, _ in messages:
            topic, queue_id = target
            record = self.add(
                StoreMessage(
                    topic, queue_id, body, properties + more, flag, flags, born_timestamp, born_host, store_host,
                    reconsume_times, 0, wait,
                )
            )
            places.append((record.queue_offset, record.physical_offset, record.size))
        return places

    cdef bint fits(self, Py_ssize_t body_size, Py_ssize_t properties_size, TopicRow row) noexcept:
        """Whether such a message is within all limits."""
        return (
            body_size <= self._size_max
            and properties_size <= PROPERTIES_SIZE_MAX
            and HEAD_SIZE + 24 + body_size + PyBytes_GET_SIZE(row.field) + 2 + properties_size + BLANK_SIZE
            <= self._rules.file_size
        )

    cdef int keep(self, object thing) except -1:
        """Whatever the records point to lives as long as the plan."""
        self._kept.append(thing)
        return 0

    cdef int lay_out(self, TopicRow row, QueueTail queue, Laid* message) except -1:
        """Lays out one message that fits, of the kind that has a queue entry. The caller keeps `queue` and `row` alive (keep())."""
        cdef Py_ssize_t topic_size = PyBytes_GET_SIZE(row.field)
        cdef Py_ssize_t properties_size = message.own_size + message.own_open + message.shared_size
        cdef Py_ssize_t size = (
            HEAD_SIZE - 16 + message.born_host_size + message.store_host_size
            + message.body_size + topic_size + 2 + properties_size
        )
        cdef int32_t flags = message.sys_flag & ~HOST_BITS
        cdef uint8_t* p
        cdef uint8_t* properties
        cdef Planned* record
        cdef uint32_t value
        cdef Py_ssize_t i, begin
        if size + BLANK_SIZE > self._room:
            self._roll()
        p = self._rules.room_for(self._used, size)
        put4(p, <uint32_t>size)
        put4(p + 4, row.magic)
        put4(p + 8, crc32(message.body, message.body_size) & 0x7FFFFFFF)
        put4(p + 12, <uint32_t>message.queue_id)
        put4(p + 16, <uint32_t>message.flag)
        put8(p + 20, <uint64_t>queue.planned_offset)
        put8(p + 28, <uint64_t>self.end)
        if message.born_host_size != 8:
            flags |= BORN_HOST_V6
        if message.store_host_size != 8:
            flags |= STORE_HOST_V6
        put4(p + 36, <uint32_t>flags)
        put8(p + 40, <uint64_t>message.born_timestamp)
        p += 48
        memcpy(p, message.born_host, message.born_host_size)
        p += message.born_host_size
        put8(p, <uint64_t>self.store_timestamp)
        p += 8
        memcpy(p, message.store_host, message.store_host_size)
        p += message.store_host_size
        put4(p, <uint32_t>message.reconsume_times)
        put8(p + 4, 0)
        put4(p + 12, <uint32_t>message.body_size)
        p += 16
        memcpy(p, message.body, message.body_size)
        p += message.body_size
        memcpy(p, PyBytes_AS_STRING(row.field), topic_size)
        p += topic_size
        put2(p, <uint32_t>properties_size)
        properties = p = p + 2
        if message.own_size:
            memcpy(p, message.own, message.own_size)
            p += message.own_size
            if message.own_open:
                p[0] = 2
                p += 1
        memcpy(p, message.shared, message.shared_size)
        record = self._new_record()
        record.physical_offset = self.end
        record.queue_offset = queue.planned_offset
        record.tags_code = 0
        if message.tags.at != NULL:
            record.tags_code = <int32_t>java_hash_utf8(0, message.tags.at, message.tags.size)
        record.size = <int32_t>size
        record.queue_id = message.queue_id
        record.transaction_type = 0
        record.range_number = <int32_t>len(self.ranges)
        record.properties_at = properties - self._rules._buffer
        record.properties_size = properties_size
        record.queue = <PyObject*>queue
        record.topic = <PyObject*>row.topic
        record.store_host = NULL
        if message.unique.at != NULL:
            self._add_key(java_hash_utf8(row.key_seed, message.unique.at, message.unique.size))
        if message.keys.at != NULL:
            begin = 0
            for i in range(message.keys.size + 1):
                if i == message.keys.size or message.keys.at[i] == 32:
                    if i > begin:
                        self._add_key(java_hash_utf8(row.key_seed, message.keys.at + begin, i - begin))
                    begin = i + 1
        if self._with_tags and message.tags.at != NULL:
            value = 31 * (31 * row.key_seed + <uint32_t>c'T') + <uint32_t>c'#'
            self._add_key(java_hash_utf8(value, message.tags.at, message.tags.size))
        queue.planned_offset += 1
        self._used += size
        self.end += size
        self._room -= size
        self.count += 1
        return 0

    cdef Planned* _new_record(self) except NULL:
        cdef Py_ssize_t capacity
        cdef Planned* grown
        if self.count == self._records_capacity:
            capacity = self._records_capacity * 2 if self._records_capacity else 8
            grown = <Planned*>realloc(self._records, capacity * sizeof(Planned))
            if grown == NULL:
                raise MemoryError
            self._records = grown
            self._records_capacity = capacity
        return &self._records[self.count]

    cdef int _add_key(self, uint32_t value) except -1:
        """`value` is Java's hash of `topic#key`, for the record that is being laid out."""
        cdef Py_ssize_t capacity
        cdef PlannedKey* grown
        cdef int32_t hashed = <int32_t>value
        if hashed < 0:
            # Integer.MIN_VALUE has no absolute value; it counts as 0.
            hashed = 0 if value == 0x80000000 else -hashed
        if self._keys_count == self._keys_capacity:
            capacity = self._keys_capacity * 2 if self._keys_capacity else 16
            grown = <PlannedKey*>realloc(self._keys, capacity * sizeof(PlannedKey))
            if grown == NULL:
                raise MemoryError
            self._keys = grown
            self._keys_capacity = capacity
        self._keys[self._keys_count].key_hash = hashed
        self._keys[self._keys_count].record = <int32_t>self.count
        self._keys_count += 1
        return 0

    def seal(self):
        if self._used:
            self._end_range()
        self._rules.shrink()

    cdef int _end_range(self) except -1:
        self.ranges.append(
            LogRange(self._part_start, PyBytes_FromStringAndSize(<char*>self._rules._buffer, self._used))
        )
        self._used = 0
        return 0

    cdef int _roll(self) except -1:
        cdef uint8_t* p = self._rules.room_for(self._used, BLANK_SIZE)
        put4(p, <uint32_t>self._room)
        put4(p + 4, MAGIC_BLANK)
        self._used += BLANK_SIZE
        self._end_range()
        self.end += self._room
        self._part_start = self.end
        self._room = self._rules.file_size
        return 0

    # --- becoming real

    def enter(self, list touched not None, index):
        cdef Py_ssize_t i
        cdef Planned* record
        cdef QueueTail queue
        cdef PendingKeys pending
        for i in range(self.count):
            record = &self._records[i]
            if record.queue != NULL:
                queue = <QueueTail>record.queue
                if not queue.dirty:
                    touched.append(queue)
                queue.push(record.physical_offset, record.size, record.tags_code)
        if index is not None and self._keys_count:
            pending = index.pending
            for i in range(self._keys_count):
                pending.push(
                    self._keys[i].key_hash, self._records[self._keys[i].record].physical_offset, self.store_timestamp
                )
        # Searches find the keys in the index from now on.
        free(self._keys)
        self._keys = NULL
        self._keys_count = self._keys_capacity = 0

    def expose(self, listener):
        cdef Py_ssize_t i
        cdef Planned* record
        cdef QueueTail queue
        for i in range(self.count):
            record = &self._records[i]
            if record.queue == NULL:
                continue
            queue = <QueueTail>record.queue
            queue.visible_offset = record.queue_offset + 1
            if queue.watched and listener is not None:
                listener(
                    <object>record.topic,
                    record.queue_id,
                    record.queue_offset + 1,
                    record.tags_code,
                    self.store_timestamp,
                    PyBytes_FromStringAndSize(
                        <char*>self.text_at(record.range_number, record.properties_at), record.properties_size
                    ),
                )

    def withdraw(self):
        cdef Py_ssize_t i
        cdef QueueTail queue
        for i in range(self.count):
            if self._records[i].queue != NULL:
                queue = <QueueTail>self._records[i].queue
                queue.planned_offset = queue.max_offset

    def leave_out(self, queues):
        cdef Py_ssize_t i
        for i in range(self.count):
            if self._records[i].queue != NULL and <object>self._records[i].queue in queues:
                self._records[i].queue = NULL

    # --- inside

    cdef const uint8_t* text_at(self, Py_ssize_t range_number, Py_ssize_t at) except NULL:
        """Bytes of the laid out records, wherever they are by now."""
        if range_number < len(self.ranges):
            return <const uint8_t*>PyBytes_AS_STRING(<bytes>(<tuple>self.ranges[range_number])[1]) + at
        return self._rules._buffer + at

    cdef object _record_at(self, Py_ssize_t number):
        cdef Planned* record = &self._records[number]
        made = PlannedRecord(
            <object>record.topic,
            record.queue_id,
            record.queue_offset,
            record.physical_offset,
            record.size,
            self.store_timestamp,
            <object>record.store_host if record.store_host != NULL else ("0.0.0.0", 0),
            PyBytes_FromStringAndSize(
                <char*>self.text_at(record.range_number, record.properties_at), record.properties_size
            ),
            record.transaction_type,
            <object>record.queue if record.queue != NULL else None,
        )
        made.tags_code = record.tags_code
        return made
