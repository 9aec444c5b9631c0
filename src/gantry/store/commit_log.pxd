# cython: language_level=3
from libc.stdint cimport int64_t

from gantry.store._append_c cimport HotTail as CompiledTail


cdef class LogFile:
    cdef readonly int64_t start
    cdef readonly str path
    cdef readonly object file


cdef class CommitLog:
    cdef readonly int64_t file_size
    cdef public list files
    cdef readonly CompiledTail hot_tail
    cdef readonly object spans
    cdef public int64_t wrote_offset
    cdef public int64_t flushed_offset
    cdef public int64_t last_store_timestamp
    cdef public int64_t damaged_read_count
    cdef object _disk
    cdef object _paths
    cdef list _directories
    cdef bint _verify_crc
    cdef int64_t _staging_number
    cdef dict _renames
    cdef dict _renames_synced
    cdef int64_t _dirty_end

    cpdef LogFile find_file(self, int64_t physical_offset)
    cpdef object write(self, int64_t start, bytes data)
    cpdef object advance(self, int64_t start, bytes data)
