# cython: language_level=3
from libc.stdint cimport int64_t


cdef class SystemFile:
    cdef readonly str path
    cdef readonly bint poisoned
    cdef readonly int _fd
    cdef int64_t _size
    cdef object _poison
    cdef object _guard
    cdef object _sync_guard
    cdef int64_t _users
    cdef bint _closing
    cdef bint _nowait

    cpdef object pwrite(self, data, int64_t offset)
    cdef int _enter(self, str op, bint changing=*) except -1
    cdef object _leave(self)
