# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Keys that the index files do not have yet, compiled; `_pending_keys_py.py` is the pure twin and says what they do.

A key is 24 bytes here: its hash, not its text. `lay_out_index` is the bulk way of `IndexFile`; it holds no lock of the
interpreter while it works.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

from gantry.protocol.disk.index_layout import key_hash as _key_hash

cdef Py_ssize_t CAPACITY_FIRST = 256
cdef int PAGE_SLOTS = 1024


cdef uint32_t java_hash_utf8(uint32_t value, const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Goes on with Java's String.hashCode over the UTF-16 units of valid UTF-8."""
    cdef Py_ssize_t i = 0
    cdef uint32_t c
    while i < n:
        c = p[i]
        if c < 0x80:
            value = 31 * value + c
            i += 1
        elif c < 0xE0:
            value = 31 * value + (((c & 0x1F) << 6) | (p[i + 1] & 0x3F))
            i += 2
        elif c < 0xF0:
            value = 31 * value + (((c & 0x0F) << 12) | ((<uint32_t>p[i + 1] & 0x3F) << 6) | (p[i + 2] & 0x3F))
            i += 3
        else:
            c = ((c & 7) << 18) | ((<uint32_t>p[i + 1] & 0x3F) << 12) | ((<uint32_t>p[i + 2] & 0x3F) << 6) | (p[i + 3] & 0x3F)
            c -= 0x10000
            value = 31 * value + (0xD800 + (c >> 10))
            value = 31 * value + (0xDC00 + (c & 0x3FF))
            i += 4
    return value


cdef class KeyBatch:
    def __dealloc__(self):
        free(self._keys)

    def __len__(self):
        return self._count

    def key(self, Py_ssize_t number):
        if number < 0 or number >= self._count:
            raise IndexError(number)
        return self._keys[number].key_hash, self._keys[number].physical_offset, self._keys[number].store_timestamp


cdef class PendingKeys:
    def __dealloc__(self):
        free(self._keys)

    def __len__(self):
        return self._end - self._first

    cdef int _reserve(self) except -1:
        cdef Py_ssize_t count = self._end - self._first, capacity
        cdef Key* grown
        if self._first > count:
            memmove(self._keys, self._keys + self._first, count * sizeof(Key))
        else:
            capacity = self._capacity * 2 if self._capacity else CAPACITY_FIRST
            grown = <Key*>malloc(capacity * sizeof(Key))
            if grown == NULL:
                raise MemoryError
            if count:
                memcpy(grown, self._keys + self._first, count * sizeof(Key))
            free(self._keys)
            self._keys = grown
            self._capacity = capacity
        self._first = 0
        self._end = count
        return 0

    cdef int push(self, int32_t key_hash, int64_t physical_offset, int64_t store_timestamp) except -1:
        cdef Key* key
        if self._end == self._capacity:
            self._reserve()
        key = &self._keys[self._end]
        key.key_hash = key_hash
        key.physical_offset = physical_offset
        key.store_timestamp = store_timestamp
        self._end += 1
        return 0

    def add(self, str topic not None, list keys not None, int64_t physical_offset, int64_t store_timestamp):
        for key in keys:
            self.push(_key_hash(f"{topic}#{key.decode('utf-8', 'replace')}"), physical_offset, store_timestamp)

    def add_all(self, list keys not None):
        for topic, key, physical_offset, store_timestamp in keys:
            self.add(topic, [key], physical_offset, store_timestamp)

    def search(self, str topic not None, bytes key not None, int64_t begin, int64_t end, Py_ssize_t count_max):
        cdef int32_t wanted = _key_hash(f"{topic}#{key.decode('utf-8', 'replace')}")
        cdef Py_ssize_t at = self._end - 1
        cdef Key* item
        cdef dict found = {}
        while at >= self._first:
            item = &self._keys[at]
            if item.key_hash == wanted and begin <= item.store_timestamp <= end:
                found[item.physical_offset] = None
                if len(found) >= count_max:
                    break
            at -= 1
        return list(found)

    @property
    def last(self):
        if self._end == self._first:
            return None
        return self._keys[self._end - 1].store_timestamp, self._keys[self._end - 1].physical_offset

    def batch(self):
        cdef KeyBatch made = KeyBatch()
        cdef Py_ssize_t count = self._end - self._first
        if count:
            made._keys = <Key*>malloc(count * sizeof(Key))
            if made._keys == NULL:
                raise MemoryError
            memcpy(made._keys, self._keys + self._first, count * sizeof(Key))
            made._count = count
        return made

    def drop(self, Py_ssize_t count):
        self._first += count
        if self._first >= self._end:
            free(self._keys)
            self._keys = NULL
            self._first = self._end = self._capacity = 0


cdef inline uint32_t get4(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | <uint32_t>p[3]


cdef inline void put4(uint8_t* p, uint32_t v) noexcept nogil:
    p[0] = <uint8_t>(v >> 24)
    p[1] = <uint8_t>(v >> 16)
    p[2] = <uint8_t>(v >> 8)
    p[3] = <uint8_t>v


def lay_out_index(
    KeyBatch batch not None,
    Py_ssize_t first,
    int64_t count,
    int64_t number,
    int64_t begin_timestamp,
    uint8_t[::1] slots not None,
    uint8_t[::1] entries not None,
    uint8_t[::1] dirty not None,
):
    """Entries of keys `first` to `first + count`, numbered from `number` on, into `entries`, and the slots that point to them.

    `slots` is the file's slot table as stored; `dirty` gets a 1 for each 1,024 slots in which one changed.
    `begin_timestamp` is the one that each entry's time is counted from.
    Returns: how many slots were empty before.
    """
    cdef Py_ssize_t slot_count = slots.shape[0] // 4, i
    cdef int64_t fresh = 0, slot, seconds
    cdef int32_t previous
    cdef Key* key
    cdef uint8_t* table = &slots[0]
    cdef uint8_t* out
    if first < 0 or count < 0 or first + count > batch._count or entries.shape[0] < count * 20 or number + count > 0x7FFFFFFF:
        raise ValueError("lay_out_index: range is outside the batch or the buffers")
    if dirty.shape[0] * PAGE_SLOTS < slot_count or slot_count == 0:
        raise ValueError("lay_out_index: the map of changes is too short")
    if count == 0:
        return 0
    out = &entries[0]
    with nogil:
        for i in range(count):
            key = &batch._keys[first + i]
            slot = key.key_hash % slot_count
            previous = <int32_t>get4(table + slot * 4)
            if previous <= 0 or previous >= number:
                previous = 0
                fresh += 1
            seconds = 0
            if begin_timestamp > 0 and key.store_timestamp > begin_timestamp:
                seconds = (key.store_timestamp - begin_timestamp) // 1000
                if seconds > 0x7FFFFFFF:
                    seconds = 0x7FFFFFFF
            put4(out, <uint32_t>key.key_hash)
            put4(out + 4, <uint32_t>(key.physical_offset >> 32))
            put4(out + 8, <uint32_t>key.physical_offset)
            put4(out + 12, <uint32_t>seconds)
            put4(out + 16, <uint32_t>previous)
            put4(table + slot * 4, <uint32_t>number)
            dirty[slot // PAGE_SLOTS] = 1
            out += 20
            number += 1
    return fresh
