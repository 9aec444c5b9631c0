# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The leaf loops compiled; `_leaf_py.py` is their pure twin and tells what they do."""

from libc.stdint cimport int32_t, uint8_t, uint32_t

cdef extern from "gantry/_core/fast_bytes.h":
    void gantry_crc_begin() nogil
    uint32_t gantry_crc32(const uint8_t* p, size_t size) nogil

gantry_crc_begin()

END_OF_BUFFER = 0
END_BLANK = 1
END_ZERO = 2
END_BAD_MAGIC = 3
END_BAD_SIZE = 4
END_BAD_CRC = 5

cdef uint32_t MAGIC_V1 = 0xDAA320A7
cdef uint32_t MAGIC_V2 = 0xDAA320AB
cdef uint32_t MAGIC_BLANK = 0xCBD43194


def crc32(buffer):
    """zlib's CRC-32, as the loops here take it."""
    cdef const uint8_t[::1] data = buffer
    return gantry_crc32(&data[0] if data.shape[0] else NULL, <size_t>data.shape[0])


def java_string_hash(str text not None):
    cdef uint32_t value = 0
    cdef Py_UCS4 unit
    cdef uint32_t rest
    for unit in text:
        if unit > 0xFFFF:
            rest = <uint32_t>unit - 0x10000
            value = 31 * value + (0xD800 + (rest >> 10))
            value = 31 * value + (0xDC00 + (rest & 0x3FF))
        else:
            value = 31 * value + <uint32_t>unit
    return <int32_t>value


cdef inline uint32_t _u4(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | <uint32_t>p[3]


def scan_records(buffer, Py_ssize_t start, Py_ssize_t end, bint check_crc):
    cdef const uint8_t[::1] data = buffer
    cdef list starts = []
    cdef Py_ssize_t position = start, size, at, limit, length
    cdef uint32_t magic, body_crc, flags
    cdef const uint8_t* p
    if start < 0 or end > data.shape[0]:
        raise ValueError("scan_records: range is outside the buffer")
    if end - start < 8:
        return starts, start, 0
    p = &data[0]
    while end - position >= 8:
        size = _u4(p + position)
        magic = _u4(p + position + 4)
        if magic == MAGIC_BLANK:
            return starts, position, 1
        if size == 0:
            return starts, position, 2
        if magic != MAGIC_V1 and magic != MAGIC_V2:
            return starts, position, 3
        if size < 91 or size > end - position:
            return starts, position, 4
        body_crc = _u4(p + position + 8)
        flags = _u4(p + position + 36)
        limit = position + size
        at = position + 84 + (12 if flags & 0x10 else 0) + (12 if flags & 0x20 else 0)
        if at + 4 > limit:
            return starts, position, 4
        length = <int32_t>_u4(p + at)
        at += 4
        if length < 0 or length > limit - at:
            return starts, position, 4
        if check_crc and length and (gantry_crc32(p + at, <size_t>length) & 0x7FFFFFFF) != body_crc:
            return starts, position, 5
        at += length
        if magic == MAGIC_V1:
            if at + 1 > limit:
                return starts, position, 4
            length = p[at]
            at += 1
        else:
            if at + 2 > limit:
                return starts, position, 4
            length = (p[at] << 8) | p[at + 1]
            at += 2
        at += length
        if at + 2 > limit:
            return starts, position, 4
        length = (p[at] << 8) | p[at + 1]
        if length > 0x7FFF or at + 2 + length != limit:
            return starts, position, 4
        starts.append(position)
        position += size
    return starts, position, 0
