# cython: language_level=3
from libc.stdint cimport int64_t


cdef class Channel:
    cdef readonly int64_t id
    cdef readonly dict attributes
    cdef readonly bint closed
    cdef readonly str close_reason
    cdef readonly bint write_paused
    cdef readonly int64_t in_flight_count
    cdef readonly int64_t in_flight_bytes
    cdef readonly str local_host
    cdef readonly int local_port
    cdef readonly str remote_host
    cdef readonly int remote_port
    cdef readonly str remote_address
    cdef readonly int descriptor
    cdef object _transport
    cdef object _clock
    cdef object _limits
    cdef bint _may_pause
    cdef list _out
    cdef int64_t _out_bytes
    cdef int64_t _cork_depth
    cdef readonly dict _pending
    cdef int64_t _next_opaque
    cdef list _writable
    cdef set _pause_reasons
    cdef int64_t _last_write_ms
    cdef bint _wrote
    cdef int64_t _stall_ms
    cdef int64_t _stall_bytes

    cpdef object write(self, data)
    cpdef object cork(self)
    cpdef object uncork(self)
    cdef object _flush(self, data)
    cdef object _flush_corked(self)
