# cython: language_level=3

cpdef bint sends_are_common(broker) except -1
cpdef bint ends_are_common(broker) except -1
cpdef bint pulls_are_common(broker) except -1
