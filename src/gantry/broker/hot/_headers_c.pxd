# cython: language_level=3
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from gantry.store._append_c cimport Found

# Fields of a send, the required ones first; those of a pull and of an end of a transaction use the same places.
cdef enum:
    GROUP = 0
    TOPIC = 1
    DEFAULT_TOPIC = 2
    QUEUE_NUMS = 3
    QUEUE_ID = 4
    SYS_FLAG = 5
    BORN = 6
    FLAG = 7
    PROPERTIES = 8
    RECONSUME = 9
    UNIT_MODE = 10
    MAX_RECONSUME = 11
    BATCH = 12
    SEND_REQUIRED = 8

    QUEUE_OFFSET = 2
    MAX_NUMS = 3
    COMMIT_OFFSET = 6
    SUSPEND_MS = 7
    SUB_VERSION = 8
    PULL_REQUIRED = 9
    SUBSCRIPTION = 9
    EXPRESSION_TYPE = 10
    MAX_BYTES = 11
    PROXY_CLIENT = 12

    TABLE_OFFSET = 2
    LOG_OFFSET = 3
    OUTCOME = 4
    MSG_ID = 5

    FIELD_COUNT = 13
    UNKNOWN = 99

    SEND_MESSAGE = 10
    PULL_MESSAGE = 11
    END_TRANSACTION = 37
    SEND_MESSAGE_V2 = 310
    SEND_BATCH_MESSAGE = 320


cdef struct Header:
    int32_t code
    int32_t opaque
    int32_t flag
    Found field[13]


cdef bint has_high(const uint8_t* p, Py_ssize_t n) noexcept nogil
cdef bint read_number(Found* text, int64_t* value, Py_ssize_t digits_max) noexcept nogil
cdef bint is_true(Found* text) noexcept nogil
cdef bint read_binary(const uint8_t* p, Py_ssize_t size, Header* header) noexcept nogil
cdef bint read_json(const uint8_t* p, Py_ssize_t size, uint8_t* scratch, Header* header) noexcept nogil
cdef uint8_t* put_number(uint8_t* p, int64_t value) noexcept nogil
cdef uint8_t* put_binary_head(uint8_t* p, int code, int32_t opaque) noexcept nogil
cdef uint8_t* put_json_middle(uint8_t* p, int32_t opaque) noexcept nogil
cdef uint8_t* put_json_end(uint8_t* p) noexcept nogil
cdef void put_prefix(uint8_t* begin, uint8_t* header_end, Py_ssize_t body_size, uint8_t serialize_type) noexcept nogil


cdef inline uint32_t get4(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | <uint32_t>p[3]


cdef inline uint32_t get2(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 8) | <uint32_t>p[1]


cdef inline uint64_t get8(const uint8_t* p) noexcept nogil:
    return (<uint64_t>get4(p) << 32) | get4(p + 4)


cdef inline uint8_t* put4(uint8_t* p, uint32_t v) noexcept nogil:
    p[0] = <uint8_t>(v >> 24)
    p[1] = <uint8_t>(v >> 16)
    p[2] = <uint8_t>(v >> 8)
    p[3] = <uint8_t>v
    return p + 4


cdef inline uint8_t* put8(uint8_t* p, uint64_t v) noexcept nogil:
    put4(p, <uint32_t>(v >> 32))
    return put4(p + 4, <uint32_t>v)


cdef inline uint8_t* put_text(uint8_t* p, const char* text, Py_ssize_t size) noexcept nogil:
    memcpy(p, text, size)
    return p + size
