# cython: language_level=3
from libc.stdint cimport int64_t

from gantry.store._append_c cimport AppendPlan as CompiledPlan
from gantry.store.commit_log cimport CommitLog as CompiledLog
from gantry.store.stats cimport StoreStats as CompiledStats


cdef class Appender:
    cdef public object on_arrive
    cdef public object settle_open_plan
    cdef object _config
    cdef object _clock
    cdef CompiledLog _log
    cdef object _rules
    cdef object _index
    cdef object _flush
    cdef object _checkpoint
    cdef object _files_ahead
    cdef object _state
    cdef CompiledStats _stats
    cdef object _on_full
    cdef object _on_failure
    cdef bint _sync_flush
    cdef object _unsafe
    cdef CompiledPlan _plan
    cdef int64_t _look_ahead_at

    cpdef CompiledPlan new_plan(self)
    cpdef object settle(self)
    cpdef object write(self, CompiledPlan plan)
    cpdef object commit(self, CompiledPlan plan)
    cpdef object abort(self, CompiledPlan plan)
    cpdef object durable(self, CompiledPlan plan)
