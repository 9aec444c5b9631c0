# cython: language_level=3
from libc.stdint cimport int64_t


cdef class BusyPoll:
    cdef object _clock
    cdef int64_t _limit_ns
    cdef int _credit
    cdef int64_t _ended_ns
    cdef bint _polling
    cdef object _call_soon

    cpdef object turn(self, int64_t began_ns, int64_t ended_ns)
