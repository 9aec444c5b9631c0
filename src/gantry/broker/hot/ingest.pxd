# cython: language_level=3
from gantry.broker.hot.turn cimport HotTurn as CompiledTurn


cdef class HotIngest:
    cdef readonly object failure
    cdef object _channel
    cdef object _decoder
    cdef CompiledTurn _turn

    cpdef list ingest(self, data)
