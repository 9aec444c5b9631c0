# cython: language_level=3
from libc.stdint cimport int64_t


cdef class HeldPull:
    cdef public object context
    cdef public object request
    cdef public object header
    cdef public object matches
    cdef public object record_filter
    cdef public int64_t channel_id
    cdef public tuple queue
    cdef public int64_t offset
    cdef public int64_t deadline_ms
    cdef public int64_t filter_chars
    cdef public int64_t slot


cdef class PullRequestHold:
    cdef public object resume
    cdef public object short_way
    cdef public object on_watch
    cdef readonly object ready
    cdef object _clock
    cdef int64_t _count_max
    cdef readonly dict _queues
    cdef dict _channels
    cdef dict _wheel
    cdef object _timer
    cdef bint _scheduled
    cdef int64_t _count
    cdef int64_t _filter_chars
    cdef bint _closed

    cpdef object run_ready(self)
    cdef object _remove(self, HeldPull held)
    cdef object _schedule(self)
