# cython: language_level=3
from libc.stdint cimport int64_t

from gantry.store.appender cimport Appender as CompiledAppender


cdef class HotTurn:
    cdef readonly object engine
    cdef readonly object plan
    cdef public object observe
    cdef object _broker
    cdef CompiledAppender _appender
    cdef object _busy_poll
    cdef object _call_soon
    cdef object _clock
    cdef object _stats
    cdef object _transactions
    cdef object _long_polling
    cdef bint _scheduled
    cdef int64_t _alone_count
    cdef int64_t _ended_ns
    cdef object _last_channel

    cpdef object more(self)
    cpdef object settle(self)
    cdef object _carry_out(self, plan)
    cdef object _look_for_company(self, list sections, int64_t began_ns)
    cdef object _answer_stored(self, plan, store_plan)
    cdef object _answer(self, plan, waiting, status)
    cdef object _write(self, plan, waiting, code, remark=*)
