# cython: language_level=3
from libc.stdint cimport int32_t, int64_t, uint8_t

from gantry.broker.hot._headers_c cimport Header
from gantry.store._append_c cimport HotTail, QueueTail, Spans
from gantry.store.commit_log cimport CommitLog
from gantry.store.stats cimport StoreStats


cdef struct PullSlot:
    int64_t messages
    int64_t bytes
    int64_t requests
    bint counted


cdef class PullLane:
    cdef str group_name
    cdef str topic_name
    cdef object rule
    cdef bytes own_text
    cdef bytes own_type
    cdef int64_t own_version
    cdef int64_t read_queue_nums
    cdef int64_t topic_sys_flag
    cdef int64_t group_sys_flag
    cdef bint consume_enable
    cdef bint broadcast_enable
    cdef int64_t queue_changes
    cdef list queues
    cdef int64_t codes[16]
    cdef int code_count
    cdef bint own
    cdef str offsets_key
    cdef int64_t renewed_ms
    cdef PullSlot* slots
    cdef Py_ssize_t slot_count
    cdef int reserve(self, Py_ssize_t count) except -1


cdef struct Gathered:
    Py_ssize_t count
    Py_ssize_t size
    int64_t next_offset


cdef struct PullLimits:
    # settings as they were at `changes`
    int64_t changes
    int64_t scan_count
    int64_t in_memory
    int64_t hot_area
    int64_t hot_bytes
    int64_t hot_count
    int64_t cold_bytes
    int64_t cold_count
    bint verify


cdef class PullDesk:
    cdef object _broker
    cdef object _clock
    cdef object _topics
    cdef object _subscriptions
    cdef object _consumers
    cdef object _offsets
    cdef object _config
    cdef CommitLog _log
    cdef PullLimits _limits
    cdef HotTail _hot_tail
    cdef Spans _spans
    cdef object _queue_table
    cdef object _reader
    cdef dict _lanes
    cdef PullLane _last
    cdef bytes _last_key
    cdef const uint8_t** _places
    cdef Py_ssize_t* _sizes
    cdef list _counted
    cdef StoreStats _store_stats
    cdef int _read_limits(self) except -1
    cdef bytes answer(self, Header* header, uint8_t serialize_type, channel)
    cdef PullLane _lane(self, Header* header, bint own)
    cdef PullLane _new_lane(self, bytes key, Header* header, bint own)
    cdef bint _still_holds(self, PullLane lane, Header* header) except -1
    cdef QueueTail _queue(self, PullLane lane, int64_t queue_id)
    cdef int _count(self, PullLane lane, int64_t queue_id, Gathered* found) except -1
    cdef list take_gets(self)
    cdef bint _gather(self, PullLane lane, QueueTail queue, int64_t offset, int64_t max_offset, int64_t count_max,
                      int64_t bytes_max, list held, Gathered* found) except -1
    cdef bytes _encode(self, Header* header, uint8_t serialize_type, PullLane lane, Gathered* found, int64_t min_offset,
                       int64_t max_offset)
