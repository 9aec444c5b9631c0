# cython: language_level=3


cdef class DiskState:
    cdef public object failure
    cdef public object full_reason
    cdef public object over_ratio
    cdef public bint shut_down
