# cython: language_level=3
from libc.stdint cimport int64_t


cdef class StoreStats:
    cdef public int64_t put_count
    cdef public int64_t put_failed_count
    cdef public int64_t put_size
    cdef public int64_t get_found_count
    cdef public int64_t get_missed_count
    cdef public int64_t transferred_count
    cdef object _clock
    cdef int64_t _boot_ms
    cdef object _samples

    cpdef object count_get(self, int64_t transferred)
