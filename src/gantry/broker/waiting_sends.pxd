# cython: language_level=3
from libc.stdint cimport int64_t


cdef class WaitingSends:
    cdef public int64_t count
    cdef public int64_t count_max
