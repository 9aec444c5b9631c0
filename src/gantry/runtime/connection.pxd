# cython: language_level=3
from libc.stdint cimport int64_t

from gantry.runtime.channel cimport Channel as CompiledChannel


cdef class RemotingConnection:
    cdef readonly CompiledChannel channel
    cdef object _owner
    cdef bint _accepted
    cdef object _handshake
    cdef object _ingest
    cdef int64_t _last_read_ms
    cdef bint _has_read
    cdef object _partial_since_ms
    cdef object _waiting

    cdef object _receive(self, data)
