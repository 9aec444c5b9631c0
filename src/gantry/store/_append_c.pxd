# cython: language_level=3
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t


cdef class QueueTail:
    cdef public int64_t max_offset
    cdef public int64_t planned_offset
    cdef public int64_t visible_offset
    cdef public int64_t last_physical_end
    cdef public bint dirty
    cdef public bint watched
    cdef readonly int64_t tail_base
    cdef uint8_t* _data
    cdef Py_ssize_t _begin
    cdef Py_ssize_t _end
    cdef Py_ssize_t _capacity
    cdef int _reserve(self, Py_ssize_t more) except -1
    cdef int push(self, int64_t physical_offset, int32_t size, int64_t tags_code) except -1
    cdef const uint8_t* units(self, int64_t offset, Py_ssize_t* count) noexcept


cdef class HotTail:
    cdef Py_ssize_t _bytes_max
    cdef Py_ssize_t _bytes
    cdef int64_t* _starts
    cdef PyObject** _chunks
    cdef Py_ssize_t _first
    cdef Py_ssize_t _count
    cdef Py_ssize_t _capacity
    cdef bytes chunk_of(self, int64_t physical_offset, Py_ssize_t size, Py_ssize_t* begin)


cdef class Spans:
    cdef int64_t* _starts
    cdef PyObject** _pieces
    cdef Py_ssize_t _count_max
    cdef Py_ssize_t _count
    cdef Py_ssize_t _newest
    cdef bytes piece_of(self, int64_t physical_offset, Py_ssize_t size, Py_ssize_t* begin)


cdef class TopicRow:
    cdef readonly str topic
    cdef bytes field
    cdef uint32_t magic
    cdef uint32_t key_seed


cdef struct Found:
    const uint8_t* at
    Py_ssize_t size


cdef struct Scan:
    Found unique
    Found tags
    Found keys
    Found wait
    bint rare
    bint names_unique
    bint is_fifo


cdef void scan_properties(const uint8_t* data, Py_ssize_t size, Scan* scan) noexcept nogil
cdef bint is_utf8(const uint8_t* p, Py_ssize_t size) noexcept nogil
cdef uint32_t crc32(const uint8_t* p, Py_ssize_t size) noexcept nogil


cdef struct Laid:
    # one message as the compiled engine hands it over; hosts have 8 or 20 bytes
    const uint8_t* body
    Py_ssize_t body_size
    const uint8_t* own
    Py_ssize_t own_size
    bint own_open
    const uint8_t* shared
    Py_ssize_t shared_size
    const uint8_t* born_host
    Py_ssize_t born_host_size
    const uint8_t* store_host
    Py_ssize_t store_host_size
    int64_t born_timestamp
    int32_t queue_id
    int32_t flag
    int32_t sys_flag
    int32_t reconsume_times
    Found unique
    Found tags
    Found keys


cdef struct Planned:
    int64_t physical_offset
    int64_t queue_offset
    int64_t tags_code
    int32_t size
    int32_t queue_id
    int32_t transaction_type
    int32_t range_number
    Py_ssize_t properties_at
    Py_ssize_t properties_size
    PyObject* queue
    PyObject* topic
    PyObject* store_host


cdef struct PlannedKey:
    int32_t key_hash
    int32_t record


cdef class PlanRules:
    cdef readonly int64_t file_size
    cdef readonly object get_queue
    cdef readonly object delay_levels
    cdef dict _rows
    cdef uint8_t* _buffer
    cdef Py_ssize_t _capacity
    cdef TopicRow row(self, str topic)
    cdef uint8_t* room_for(self, Py_ssize_t used, Py_ssize_t more) except NULL
    cdef void shrink(self) noexcept


cdef class AppendPlan:
    cdef readonly int64_t start
    cdef readonly int64_t end
    cdef readonly int64_t store_timestamp
    cdef readonly list ranges
    cdef readonly Py_ssize_t count
    cdef public bint must_wait
    cdef public bint done
    cdef PlanRules _rules
    cdef int64_t _size_max
    cdef bint _with_tags
    cdef int64_t _room
    cdef int64_t _part_start
    cdef Py_ssize_t _used
    cdef Planned* _records
    cdef Py_ssize_t _records_capacity
    cdef PlannedKey* _keys
    cdef Py_ssize_t _keys_count
    cdef Py_ssize_t _keys_capacity
    cdef list _kept
    cdef bint fits(self, Py_ssize_t body_size, Py_ssize_t properties_size, TopicRow row) noexcept
    cdef int keep(self, object thing) except -1
    cdef int lay_out(self, TopicRow row, QueueTail queue, Laid* message) except -1
    cdef bint _lay_out_plain(self, TopicRow row, message) except -1
    cdef Planned* _new_record(self) except NULL
    cdef int _add_key(self, uint32_t value) except -1
    cdef int _end_range(self) except -1
    cdef int _roll(self) except -1
    cdef const uint8_t* text_at(self, Py_ssize_t range_number, Py_ssize_t at) except NULL
    cdef object _record_at(self, Py_ssize_t number)
