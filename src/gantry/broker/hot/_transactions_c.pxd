# cython: language_level=3
from libc.stdint cimport int32_t, int64_t, uint8_t

from gantry.broker.hot._headers_c cimport Header
from gantry.store._append_c cimport Found, HotTail, Laid, QueueTail


cdef struct HalfText:
    # what stands in the properties of a half
    Found unique
    Found tags
    Found keys
    Found wait
    Found group
    Found mark
    Found real_topic
    Found real_queue
    bint immunity
    bint not_from_senders


cdef bint scan_half(const uint8_t* text, Py_ssize_t size, HalfText* found) noexcept nogil


cdef class TransactionDesk:
    cdef object _broker
    cdef object _queue_table
    cdef HotTail _hot_tail
    cdef object _is_open
    cdef QueueTail _queue
    cdef int64_t _queue_changes
    cdef uint8_t* _marks
    cdef Py_ssize_t _marks_capacity
    cdef bytes _held
    cdef bint accepts_halves(self) except -1
    cdef QueueTail half_queue(self)
    cdef const uint8_t* marks(self, bytes suffix, HalfText* half, Found* group, Found* topic, int64_t queue_id,
                              Py_ssize_t* size) except NULL
    cdef bint find(self, Header* header, HalfText* half, Laid* laid, int64_t* outcome, int64_t* queue_offset,
                   int64_t* physical_offset) except -1
    cdef bint is_open(self, int64_t queue_offset) except -1
