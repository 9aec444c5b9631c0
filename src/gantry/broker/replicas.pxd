# cython: language_level=3


cdef class Replicas:
    cdef object _config
