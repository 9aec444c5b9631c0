# cython: language_level=3
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

cdef uint32_t java_hash_utf8(uint32_t value, const uint8_t* p, Py_ssize_t n) noexcept nogil


cdef struct Key:
    int64_t physical_offset
    int64_t store_timestamp
    int32_t key_hash


cdef class KeyBatch:
    cdef Key* _keys
    cdef Py_ssize_t _count


cdef class PendingKeys:
    cdef Key* _keys
    cdef Py_ssize_t _first
    cdef Py_ssize_t _end
    cdef Py_ssize_t _capacity
    cdef int _reserve(self) except -1
    cdef int push(self, int32_t key_hash, int64_t physical_offset, int64_t store_timestamp) except -1
