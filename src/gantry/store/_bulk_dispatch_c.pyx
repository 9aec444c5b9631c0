# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Queue and index entries of many records at once, compiled.

`_bulk_dispatch_py.py` says of which records, `dispatch.py` what they get.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from gantry.store._append_c cimport QueueTail, Scan, is_utf8, scan_properties
from gantry.store._pending_keys_c cimport PendingKeys, java_hash_utf8

from gantry._core import java_string_hash
from gantry.model import sys_flag as _sys_flag
from gantry.model.topic_validator import SCHEDULE_TOPIC
from gantry.protocol.message import record as _record

from ._append_plan_py import is_storable_topic

cdef uint32_t MAGIC_V1 = _record.MAGIC_V1 & 0xFFFFFFFF
cdef uint32_t MAGIC_V2 = _record.MAGIC_V2 & 0xFFFFFFFF
cdef uint32_t RARE_FLAGS = _sys_flag.TRANSACTION_MASK | _sys_flag.BORN_HOST_V6 | _sys_flag.STORE_HOST_V6
cdef int64_t HEAD_SIZE = 88
cdef int32_t QUEUE_ID_END = 1 << 16


cdef inline uint32_t get4(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | <uint32_t>p[3]


cdef inline int64_t get8(const uint8_t* p) noexcept nogil:
    return <int64_t>((<uint64_t>get4(p) << 32) | get4(p + 4))


cdef bint is_ascii(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    cdef uint8_t seen = 0
    for i in range(size):
        seen |= p[i]
    return seen < 0x80


cdef class Row:
    """One topic."""

    cdef str topic
    cdef bint usable
    cdef uint32_t key_seed
    cdef int64_t deleted_below
    cdef list queues

    cdef QueueTail queue(self, table, int32_t queue_id):
        if queue_id >= len(self.queues):
            self.queues.extend([None] * (queue_id + 1 - len(self.queues)))
        found = self.queues[queue_id]
        if found is None:
            found = self.queues[queue_id] = table.find_or_create(self.topic, queue_id)
        return <QueueTail>found


cdef class BulkDispatch:
    cdef object _table
    cdef dict _touched
    cdef dict _deleted_topics
    cdef PendingKeys _pending
    cdef int64_t _covered
    cdef bint _with_tags
    cdef dict _rows
    cdef Row _last
    cdef bytes _last_name

    def __init__(self, queues, dict touched not None, dict deleted_topics not None, PendingKeys pending, *, int64_t covered,
                 bint with_tags):
        self._table = queues
        self._touched = touched
        self._deleted_topics = deleted_topics
        self._pending = pending
        self._covered = covered
        self._with_tags = with_tags
        self._rows = {}

    cdef Row _row(self, const uint8_t* name, Py_ssize_t size):
        cdef bytes key
        cdef Row row = self._last
        if row is not None and size == PyBytes_GET_SIZE(self._last_name) and memcmp(
            name, PyBytes_AS_STRING(self._last_name), size
        ) == 0:
            return row
        key = PyBytes_FromStringAndSize(<char*>name, size)
        row = <Row>self._rows.get(key)
        if row is None:
            row = Row()
            row.queues = []
            if is_utf8(name, size):
                row.topic = key.decode()
                row.usable = is_storable_topic(row.topic) and row.topic != SCHEDULE_TOPIC
                row.key_seed = <uint32_t>(java_string_hash(row.topic + "#") & 0xFFFFFFFF)
                row.deleted_below = self._deleted_topics.get(row.topic, -1)
            self._rows[key] = row
        self._last, self._last_name = row, key
        return row

    cdef int _key(self, uint32_t value, int64_t physical_offset, int64_t store_timestamp) except -1:
        """`value` is Java's hash of `topic#key`."""
        cdef int32_t hashed = <int32_t>value
        if hashed < 0:
            # Integer.MIN_VALUE has no absolute value; it counts as 0.
            hashed = 0 if value == 0x80000000 else -hashed
        return self._pending.push(hashed, physical_offset, store_timestamp)

    cdef int _index(self, Row row, Scan* scan, int64_t physical_offset, int64_t store_timestamp) except -1:
        """Returns how many keys it has."""
        cdef Py_ssize_t i, begin = 0
        cdef int count = 0
        cdef uint32_t value
        if scan.unique.at != NULL:
            self._key(java_hash_utf8(row.key_seed, scan.unique.at, scan.unique.size), physical_offset, store_timestamp)
            count += 1
        if scan.keys.at != NULL:
            for i in range(scan.keys.size + 1):
                if i == scan.keys.size or scan.keys.at[i] == 32:
                    if i > begin:
                        value = java_hash_utf8(row.key_seed, scan.keys.at + begin, i - begin)
                        self._key(value, physical_offset, store_timestamp)
                        count += 1
                    begin = i + 1
        if self._with_tags and scan.tags.at != NULL:
            value = 31 * (31 * row.key_seed + <uint32_t>c'T') + <uint32_t>c'#'
            self._key(java_hash_utf8(value, scan.tags.at, scan.tags.size), physical_offset, store_timestamp)
            count += 1
        return count

    def run(self, bytes data not None, int64_t base, list starts not None, Py_ssize_t at):
        """See the pure twin."""
        cdef Scan scan
        cdef Row row
        cdef QueueTail queue
        cdef const uint8_t* p
        cdef Py_ssize_t start, count = len(starts), length = PyBytes_GET_SIZE(data)
        cdef int64_t size, place, end, topic_size, properties_size, physical_offset, queue_offset
        cdef uint32_t magic
        cdef int32_t queue_id
        cdef int64_t code
        cdef int added, total = 0
        while at < count:
            start = starts[at]
            if start < 0 or length - start < HEAD_SIZE:
                break
            p = <const uint8_t*>PyBytes_AS_STRING(data) + start
            size = <int32_t>get4(p)
            magic = get4(p + 4)
            queue_id = <int32_t>get4(p + 12)
            physical_offset = base + start
            if size < HEAD_SIZE or size > length - start or physical_offset == self._covered:
                break
            if get4(p + 36) & RARE_FLAGS or queue_id < 0 or queue_id >= QUEUE_ID_END:
                break
            place = HEAD_SIZE + <int64_t>get4(p + 84)
            if magic == MAGIC_V1 and place + 1 <= size:
                topic_size = p[place]
                place += 1
            elif magic == MAGIC_V2 and place + 2 <= size:
                topic_size = p[place] << 8 | p[place + 1]
                place += 2
            else:
                break
            end = place + topic_size
            if end + 2 > size:
                break
            row = self._row(p + place, <Py_ssize_t>topic_size)
            properties_size = p[end] << 8 | p[end + 1]
            if not row.usable or end + 2 + properties_size > size or not is_ascii(p + end + 2, <Py_ssize_t>properties_size):
                break
            scan_properties(p + end + 2, <Py_ssize_t>properties_size, &scan)
            added = 0
            if physical_offset >= row.deleted_below:
                queue = row.queue(self._table, queue_id)
                queue_offset = get8(p + 20)
                if queue_offset > queue.max_offset:
                    break
                if queue_offset == queue.max_offset:
                    code = 0
                    if scan.tags.at != NULL:
                        code = <int32_t>java_hash_utf8(0, scan.tags.at, scan.tags.size)
                    queue.push(physical_offset, <int32_t>size, code)
                    self._touched[queue] = None
                    added = 1
            if self._pending is not None and physical_offset > self._covered:
                if self._index(row, &scan, physical_offset, get8(p + 56)):
                    added = 1
            total += added
            at += 1
        return at, total
