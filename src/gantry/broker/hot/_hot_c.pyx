# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The engine compiled: `_hot_py.py` is its pure twin and says what counts as a common send.

Per read it cuts the frames, reads the headers where they lie, and lays the records out in the store's plan; no object is made
for a message. What is in any way unusual, also in how its header is written, is left to others as a frame. It makes no
system call.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memmove, memset

from gantry.store._append_c cimport AppendPlan, Found, Laid, QueueTail, Scan, TopicRow, is_utf8, scan_properties

from gantry.errors import MessageIllegal, RemoteProtocolError
from gantry.model import topic_config, topic_validator
from gantry.protocol.message.message_id import encode_host
from gantry.protocol.remoting.codes import CURRENT_VERSION, LanguageCode
from gantry.protocol.remoting.frame import Frame, FrameDecoder

from ._hot_py import BATCH_COUNT_MAX, RARE_FLAGS, SendSuffix, encoded_answer, short_way

cdef int32_t _RARE_FLAGS = RARE_FLAGS
cdef int32_t _BATCH_COUNT_MAX = BATCH_COUNT_MAX
cdef int _VERSION = CURRENT_VERSION
cdef int _LANGUAGE = int(LanguageCode.PYTHON)
cdef bytes _LANGUAGE_NAME = LanguageCode.PYTHON.name.encode()
cdef str _SINGLE_TAG = topic_config.SINGLE_TAG

cdef Py_ssize_t PREFIX = 8
cdef Py_ssize_t BATCH_FIXED = 22
cdef Py_ssize_t PROPERTIES_SIZE_MAX = 32767
cdef int FIELDS_MAX = 1024
cdef int64_t QUEUE_ID_END = 1 << 16
cdef Py_ssize_t CUTTER_KEPT = 1 << 16

# Fields of a send; the required ones first.
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
    FIELDS = 13
    REQUIRED = 8
    UNKNOWN = 99


cdef struct Header:
    int32_t code
    int32_t opaque
    int32_t flag
    Found field[13]


cdef struct Reply:
    int32_t opaque
    int32_t queue_id
    int32_t first
    int32_t count
    int32_t unique_range
    int32_t unique_size
    Py_ssize_t unique_at
    uint8_t serialize_type
    uint8_t waits


cdef struct Count:
    int32_t lane
    int32_t queue_id
    int64_t messages
    int64_t bytes
    int64_t requests


cdef struct QueueSlot:
    int64_t plan_number
    int32_t count_index


cdef inline uint32_t get4(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | <uint32_t>p[3]


cdef inline uint32_t get2(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 8) | <uint32_t>p[1]


cdef inline uint8_t* put4(uint8_t* p, uint32_t v) noexcept nogil:
    p[0] = <uint8_t>(v >> 24)
    p[1] = <uint8_t>(v >> 16)
    p[2] = <uint8_t>(v >> 8)
    p[3] = <uint8_t>v
    return p + 4


cdef inline uint8_t* put_text(uint8_t* p, const char* text, Py_ssize_t size) noexcept nogil:
    memcpy(p, text, size)
    return p + size


cdef inline uint8_t* put_number(uint8_t* p, int64_t value) noexcept nogil:
    cdef char digits[24]
    cdef int n = 0
    cdef uint64_t rest
    if value < 0:
        p[0] = c'-'
        p += 1
        rest = <uint64_t>(-(value + 1)) + 1
    else:
        rest = <uint64_t>value
    while True:
        digits[n] = <char>(48 + rest % 10)
        n += 1
        rest = rest // 10
        if rest == 0:
            break
    while n > 0:
        n -= 1
        p[0] = <uint8_t>digits[n]
        p += 1
    return p


cdef inline bint has_high(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    cdef uint64_t word
    cdef Py_ssize_t i = 0
    while i + 8 <= n:
        memcpy(&word, p + i, 8)
        if word & <uint64_t>0x8080808080808080:
            return True
        i += 8
    while i < n:
        if p[i] & 0x80:
            return True
        i += 1
    return False


cdef bint read_number(Found* text, int64_t* value, Py_ssize_t digits_max) noexcept nogil:
    """Plain digits only, as the pure twin takes them."""
    cdef Py_ssize_t i
    cdef int64_t result = 0
    cdef uint8_t c
    if text.at == NULL or text.size == 0 or text.size > digits_max:
        return False
    for i in range(text.size):
        c = text.at[i]
        if c < 48 or c > 57:
            return False
        result = result * 10 + (c - 48)
    value[0] = result
    return True


cdef bint is_true(Found* text) noexcept nogil:
    return (
        text.at != NULL
        and text.size == 4
        and (text.at[0] | 32) == c't'
        and (text.at[1] | 32) == c'r'
        and (text.at[2] | 32) == c'u'
        and (text.at[3] | 32) == c'e'
    )


cdef int long_name(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    if n == 5:
        if memcmp(p, "topic", 5) == 0:
            return TOPIC
        if memcmp(p, "batch", 5) == 0:
            return BATCH
    elif n == 4:
        if memcmp(p, "flag", 4) == 0:
            return FLAG
    elif n == 7:
        if memcmp(p, "queueId", 7) == 0:
            return QUEUE_ID
        if memcmp(p, "sysFlag", 7) == 0:
            return SYS_FLAG
    elif n == 8:
        if memcmp(p, "unitMode", 8) == 0:
            return UNIT_MODE
    elif n == 10:
        if memcmp(p, "properties", 10) == 0:
            return PROPERTIES
    elif n == 12:
        if memcmp(p, "defaultTopic", 12) == 0:
            return DEFAULT_TOPIC
    elif n == 13:
        if memcmp(p, "producerGroup", 13) == 0:
            return GROUP
        if memcmp(p, "bornTimestamp", 13) == 0:
            return BORN
    elif n == 14:
        if memcmp(p, "reconsumeTimes", 14) == 0:
            return RECONSUME
    elif n == 17:
        if memcmp(p, "maxReconsumeTimes", 17) == 0:
            return MAX_RECONSUME
    elif n == 21:
        if memcmp(p, "defaultTopicQueueNums", 21) == 0:
            return QUEUE_NUMS
    return UNKNOWN


cdef inline int short_name(uint8_t c) noexcept nogil:
    # a to m stand for the fields in the order of the enumeration, but reconsume times, unit mode, max and batch: j k l m
    if c >= c'a' and c <= c'm':
        return c - c'a'
    return UNKNOWN


# --- binary headers

cdef bint read_binary(const uint8_t* p, Py_ssize_t size, Header* header) noexcept nogil:
    """False for a header that others are to read: malformed, of another kind, or unusual."""
    cdef Py_ssize_t at, end, n
    cdef int which, count = 0
    cdef bint high, short_names
    cdef const uint8_t* name
    if size < 25:
        return False
    header.code = <int32_t>get2(p)
    if header.code != 310 and header.code != 10 and header.code != 320:
        return False
    header.opaque = <int32_t>get4(p + 5)
    header.flag = <int32_t>get4(p + 9)
    if get4(p + 13) != 0:
        return False
    n = get4(p + 17)
    if n > size - 21:
        return False
    memset(&header.field[0], 0, sizeof(header.field))
    high = has_high(p + 21, n)
    short_names = header.code != 10
    at = 21
    end = 21 + n
    while at < end:
        count += 1
        if count > FIELDS_MAX or end - at < 6:
            return False
        n = get2(p + at)
        at += 2
        if n > 32767 or n > end - at - 4:
            return False
        name = p + at
        if high and not is_utf8(name, n):
            return False
        if short_names:
            which = short_name(name[0]) if n == 1 else UNKNOWN
        else:
            which = long_name(name, n)
        at += n
        n = <int32_t>get4(p + at)
        at += 4
        if n < 0 or n > end - at:
            return False
        if high and not is_utf8(p + at, n):
            return False
        if which != UNKNOWN:
            header.field[which].at = p + at
            header.field[which].size = n
        at += n
    return True


# --- JSON headers

cdef struct Text:
    const uint8_t* p
    Py_ssize_t at
    Py_ssize_t size
    uint8_t* scratch
    Py_ssize_t used


cdef inline uint8_t peek(Text* t) noexcept nogil:
    """The next character that is no space; 0 at the end."""
    cdef uint8_t c
    while t.at < t.size:
        c = t.p[t.at]
        if c != 32 and c != 9 and c != 10 and c != 13:
            return c
        t.at += 1
    return 0


cdef inline int hex_digit(uint8_t c) noexcept nogil:
    if c >= 48 and c <= 57:
        return c - 48
    c |= 32
    if c >= 97 and c <= 102:
        return c - 87
    return -1


cdef bint read_string(Text* t, Found* found) noexcept nogil:
    """A string; its text is where it lies, or in the scratch when something in it is escaped."""
    cdef const uint8_t* p = t.p
    cdef Py_ssize_t i = t.at, begin, size = t.size
    cdef uint8_t c
    cdef uint8_t* out
    cdef int k, digit
    cdef uint32_t unit
    if i >= size or p[i] != c'"':
        return False
    i += 1
    begin = i
    while i < size and p[i] != c'"' and p[i] != c'\\':
        if p[i] < 32:
            return False
        i += 1
    if i >= size:
        return False
    if p[i] == c'"':
        found.at = p + begin
        found.size = i - begin
        t.at = i + 1
        return True
    # The scratch is as long as the header, and an escape is never shorter than what it stands for.
    out = t.scratch + t.used
    found.at = out
    memcpy(out, p + begin, i - begin)
    out += i - begin
    while True:
        if i >= size:
            return False
        c = p[i]
        if c == c'"':
            break
        if c < 32:
            return False
        if c != c'\\':
            out[0] = c
            out += 1
            i += 1
            continue
        if i + 1 >= size:
            return False
        c = p[i + 1]
        i += 2
        if c == c'u':
            if i + 4 > size:
                return False
            unit = 0
            for k in range(4):
                digit = hex_digit(p[i + k])
                if digit < 0:
                    return False
                unit = (unit << 4) | <uint32_t>digit
            i += 4
            if unit >= 0xD800 and unit < 0xE000:
                return False
            if unit < 0x80:
                out[0] = <uint8_t>unit
                out += 1
            elif unit < 0x800:
                out[0] = <uint8_t>(0xC0 | (unit >> 6))
                out[1] = <uint8_t>(0x80 | (unit & 0x3F))
                out += 2
            else:
                out[0] = <uint8_t>(0xE0 | (unit >> 12))
                out[1] = <uint8_t>(0x80 | ((unit >> 6) & 0x3F))
                out[2] = <uint8_t>(0x80 | (unit & 0x3F))
                out += 3
            continue
        if c == c'"' or c == c'\\' or c == c'/':
            pass
        elif c == c'n':
            c = 10
        elif c == c't':
            c = 9
        elif c == c'r':
            c = 13
        elif c == c'b':
            c = 8
        elif c == c'f':
            c = 12
        else:
            return False
        out[0] = c
        out += 1
    found.size = out - found.at
    t.used = out - t.scratch
    t.at = i + 1
    return True


cdef bint read_int32(Text* t, int32_t* value) noexcept nogil:
    cdef int64_t result = 0
    cdef bint negative = False
    cdef Py_ssize_t begin
    cdef uint8_t c
    if t.at < t.size and t.p[t.at] == c'-':
        negative = True
        t.at += 1
    begin = t.at
    while t.at < t.size:
        c = t.p[t.at]
        if c < 48 or c > 57:
            break
        result = result * 10 + (c - 48)
        t.at += 1
        if t.at - begin > 10:
            return False
    if t.at == begin or (t.p[begin] == 48 and t.at - begin > 1):
        return False
    if t.at < t.size and (t.p[t.at] == c'.' or (t.p[t.at] | 32) == c'e'):
        return False
    if negative:
        result = -result
    if result < -2147483648 or result > 2147483647:
        return False
    value[0] = <int32_t>result
    return True


cdef bint read_fields(Text* t, Header* header, Found* names) noexcept nogil:
    """The object of extension fields: names and values kept in pairs until the code is known."""
    cdef int count = 0
    cdef uint8_t c
    t.at += 1
    if peek(t) == c'}':
        t.at += 1
        names[0].at = NULL
        return True
    while True:
        if count >= 32:
            return False
        if peek(t) != c'"' or not read_string(t, &names[2 * count]):
            return False
        if peek(t) != c':':
            return False
        t.at += 1
        if peek(t) == c'n':
            if t.size - t.at < 4 or memcmp(t.p + t.at, "null", 4) != 0:
                return False
            t.at += 4
            # A name whose value is null is not there; but it may repeat one that was.
            return False
        if not read_string(t, &names[2 * count + 1]):
            return False
        count += 1
        c = peek(t)
        t.at += 1
        if c == c',':
            continue
        if c != c'}':
            return False
        names[2 * count].at = NULL
        return True


cdef bint read_json(const uint8_t* p, Py_ssize_t size, uint8_t* scratch, Header* header) noexcept nogil:
    """False for a header that others are to read."""
    cdef Text t
    cdef Found name
    cdef Found ignored
    cdef Found names[66]
    cdef bint has_code = False, has_fields = False
    cdef int32_t number
    cdef uint8_t c
    cdef int which, i
    t.p = p
    t.at = 0
    t.size = size
    t.scratch = scratch
    t.used = 0
    header.code = header.opaque = header.flag = 0
    if has_high(p, size) and not is_utf8(p, size):
        return False
    if peek(&t) != c'{':
        return False
    t.at += 1
    while True:
        if peek(&t) != c'"' or not read_string(&t, &name):
            return False
        if peek(&t) != c':':
            return False
        t.at += 1
        c = peek(&t)
        if c == c'{':
            if has_fields or name.size != 9 or memcmp(name.at, "extFields", 9) != 0:
                return False
            has_fields = True
            if not read_fields(&t, header, &names[0]):
                return False
        elif c == c'"':
            # Only members that are texts: language, remark, serializeTypeCurrentRPC, and what nobody knows.
            if not read_string(&t, &ignored):
                return False
            if name.size == 4 and (memcmp(name.at, "code", 4) == 0 or memcmp(name.at, "flag", 4) == 0):
                return False
            if name.size == 6 and memcmp(name.at, "opaque", 6) == 0:
                return False
            if name.size == 7 and memcmp(name.at, "version", 7) == 0:
                return False
            if name.size == 9 and memcmp(name.at, "extFields", 9) == 0:
                return False
        else:
            if not read_int32(&t, &number):
                return False
            if name.size == 4 and memcmp(name.at, "code", 4) == 0:
                header.code = number
                has_code = True
            elif name.size == 4 and memcmp(name.at, "flag", 4) == 0:
                header.flag = number
            elif name.size == 6 and memcmp(name.at, "opaque", 6) == 0:
                header.opaque = number
            elif name.size == 9 and memcmp(name.at, "extFields", 9) == 0:
                return False
        c = peek(&t)
        t.at += 1
        if c == c',':
            continue
        if c != c'}':
            return False
        break
    if peek(&t) != 0 or t.at != size:
        return False
    if not has_code or not has_fields or (header.code != 310 and header.code != 10 and header.code != 320):
        return False
    memset(&header.field[0], 0, sizeof(header.field))
    i = 0
    while names[i].at != NULL:
        if header.code == 10:
            which = long_name(names[i].at, names[i].size)
        else:
            which = short_name(names[i].at[0]) if names[i].size == 1 else UNKNOWN
        if which != UNKNOWN:
            header.field[which] = names[i + 1]
        i += 2
    return True


# --- the bytes of one connection

cdef class FrameCutter:
    """What has come of a connection's bytes and is no whole frame yet, and who sends them."""

    cdef uint8_t* _held
    cdef Py_ssize_t _size
    cdef Py_ssize_t _capacity
    cdef readonly int64_t frame_bytes_max
    cdef readonly int64_t header_bytes_max
    cdef object _host
    cdef int _port
    cdef bytes _born_host

    def __cinit__(self, int64_t frame_bytes_max, int64_t header_bytes_max):
        self.frame_bytes_max = frame_bytes_max
        self.header_bytes_max = header_bytes_max

    def __dealloc__(self):
        free(self._held)

    @property
    def buffered_bytes(self):
        return self._size

    cdef int append(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t capacity
        cdef uint8_t* grown
        if self._size + size > self._capacity:
            capacity = self._capacity if self._capacity else 4096
            while capacity < self._size + size:
                capacity *= 2
            grown = <uint8_t*>realloc(self._held, capacity)
            if grown == NULL:
                raise MemoryError
            self._held = grown
            self._capacity = capacity
        memcpy(self._held + self._size, data, size)
        self._size += size
        return 0

    cdef void keep_from(self, Py_ssize_t at) noexcept:
        """Drops what stands before `at`."""
        self._size -= at
        if self._size:
            memmove(self._held, self._held + at, self._size)
        if self._capacity > CUTTER_KEPT and self._size < CUTTER_KEPT // 2:
            # A large frame is over: what it needed is given back.
            self._shrink()

    cdef void _shrink(self) noexcept:
        cdef uint8_t* smaller
        if not self._size:
            free(self._held)
            self._held = NULL
            self._capacity = 0
            return
        smaller = <uint8_t*>realloc(self._held, CUTTER_KEPT)
        if smaller != NULL:
            self._held = smaller
            self._capacity = CUTTER_KEPT

    cdef bytes born_host(self, host, int port):
        """The sender as it stands in a record; None when it has no such form."""
        if host is not self._host or port != self._port:
            self._host, self._port = host, port
            try:
                self._born_host = encode_host((host, port))
            except (ValueError, OverflowError):
                self._born_host = None
        return self._born_host


# --- topics as the engine knows them

cdef class Lane:
    """One topic: its settings as last seen, and its queues."""

    cdef str name
    cdef object config
    cdef TopicRow row
    cdef bint usable
    cdef int64_t read_queue_nums
    cdef int64_t write_queue_nums
    cdef int64_t checked_by
    cdef int64_t queue_changes
    cdef int32_t number
    cdef list queues
    cdef QueueSlot* slots
    cdef Py_ssize_t slot_count

    def __cinit__(self):
        self.queues = []
        self.checked_by = -1

    def __dealloc__(self):
        free(self.slots)

    cdef int reserve(self, Py_ssize_t count) except -1:
        cdef QueueSlot* grown
        cdef Py_ssize_t i
        if count > self.slot_count:
            grown = <QueueSlot*>realloc(self.slots, count * sizeof(QueueSlot))
            if grown == NULL:
                raise MemoryError
            for i in range(self.slot_count, count):
                grown[i].plan_number = -1
                self.queues.append(None)
            self.slots = grown
            self.slot_count = count
        return 0


# --- plans

cdef class HotPlan:
    """What one read asks for; see the pure twin."""

    cdef public AppendPlan store_plan
    cdef public object failure
    cdef readonly Py_ssize_t message_count
    cdef readonly list sections
    cdef readonly object suffix
    cdef int64_t number
    cdef Py_ssize_t reply_count
    cdef Reply* _replies
    cdef Py_ssize_t _reply_capacity
    cdef Count* _counts
    cdef Py_ssize_t _count_count
    cdef Py_ssize_t _count_capacity
    cdef list _lanes
    cdef readonly Py_ssize_t waiting_count

    def __cinit__(self):
        self.sections = []

    def __dealloc__(self):
        free(self._replies)
        free(self._counts)

    @property
    def log_bytes(self):
        return 0 if self.store_plan is None else self.store_plan.end - self.store_plan.start

    @property
    def topics(self):
        cdef Py_ssize_t i
        return [
            (
                (<Lane>self._lanes[self._counts[i].lane]).name,
                self._counts[i].queue_id,
                self._counts[i].messages,
                self._counts[i].bytes,
                self._counts[i].requests,
            )
            for i in range(self._count_count)
        ]

    def answers(self, Py_ssize_t first, Py_ssize_t end, waiting, int code, remark=None):
        """See the pure twin."""
        cdef Py_ssize_t i, size = 0
        cdef uint8_t* out
        cdef uint8_t* p
        cdef Reply* reply
        cdef int chosen = -1 if waiting is None else (1 if waiting else 0)
        cdef list parts
        cdef bytes made
        if remark is not None:
            parts = []
            for i in range(first, end):
                reply = &self._replies[i]
                if chosen < 0 or reply.waits == chosen:
                    parts.append(encoded_answer(self.suffix, reply.opaque, reply.serialize_type, code, remark, {}))
            return b"".join(parts)
        if first >= end:
            return b""
        if not self.suffix.is_plain:
            return b"".join([
                self._slow_answer(&self._replies[i], code)
                for i in range(first, end)
                if chosen < 0 or self._replies[i].waits == chosen
            ])
        cdef bytes region = self.suffix.region_bytes
        cdef bytes trace = self.suffix.trace_bytes
        cdef bytes host = self.suffix.store_host
        for i in range(first, end):
            reply = &self._replies[i]
            size += 420 + reply.unique_size + PyBytes_GET_SIZE(region) + 60 * <Py_ssize_t>reply.count
        out = <uint8_t*>malloc(size)
        if out == NULL:
            raise MemoryError
        parts = None
        try:
            p = out
            for i in range(first, end):
                reply = &self._replies[i]
                if chosen >= 0 and reply.waits != chosen:
                    continue
                if reply.serialize_type == 0 and not is_plain(
                    self.store_plan.text_at(reply.unique_range, reply.unique_at), reply.unique_size
                ):
                    made = self._slow_answer(reply, code)
                    if parts is None:
                        parts = []
                    parts.append(PyBytes_FromStringAndSize(<char*>out, p - out))
                    parts.append(made)
                    p = out
                    continue
                p = self._write_answer(p, reply, code, region, trace, host)
            made = PyBytes_FromStringAndSize(<char*>out, p - out)
        finally:
            free(out)
        if parts is None:
            return made
        parts.append(made)
        return b"".join(parts)

    cdef uint8_t* _write_answer(self, uint8_t* begin, Reply* reply, int code, bytes region, bytes trace, bytes host) except NULL:
        cdef uint8_t* p = begin + PREFIX
        cdef uint8_t* mark
        cdef uint8_t* ext
        cdef const uint8_t* unique = self.store_plan.text_at(reply.unique_range, reply.unique_at)
        cdef int64_t queue_offset = self.store_plan._records[reply.first].queue_offset
        if reply.serialize_type == 0:
            p = put_text(p, '{"code":', 8)
            p = put_number(p, code)
            p = put_text(p, ',"extFields":{"MSG_REGION":"', 28)
            p = put_text(p, PyBytes_AS_STRING(region), PyBytes_GET_SIZE(region))
            p = put_text(p, '","TRACE_ON":"', 14)
            p = put_text(p, PyBytes_AS_STRING(trace), PyBytes_GET_SIZE(trace))
            p = put_text(p, '","msgId":"', 11)
            p = self._write_ids(p, reply, host)
            p = put_text(p, '","queueId":"', 13)
            p = put_number(p, reply.queue_id)
            p = put_text(p, '","queueOffset":"', 17)
            p = put_number(p, queue_offset)
            p = put_text(p, '","transactionId":"', 19)
            p = put_text(p, <const char*>unique, reply.unique_size)
            p = put_text(p, '"},"flag":1,"language":"', 24)
            p = put_text(p, PyBytes_AS_STRING(_LANGUAGE_NAME), PyBytes_GET_SIZE(_LANGUAGE_NAME))
            p = put_text(p, '","opaque":', 11)
            p = put_number(p, reply.opaque)
            p = put_text(p, ',"serializeTypeCurrentRPC":"JSON","version":', 44)
            p = put_number(p, _VERSION)
            p = put_text(p, '}', 1)
        else:
            p[0] = <uint8_t>(code >> 8)
            p[1] = <uint8_t>code
            p[2] = <uint8_t>_LANGUAGE
            p[3] = <uint8_t>(_VERSION >> 8)
            p[4] = <uint8_t>_VERSION
            p = put4(p + 5, <uint32_t>reply.opaque)
            p = put4(p, 1)
            p = put4(p, 0)
            ext = p
            p += 4
            p = put_text(p, "\x00\x05msgId", 7)
            mark = p
            p = self._write_ids(p + 4, reply, host)
            put4(mark, <uint32_t>(p - mark - 4))
            p = put_text(p, "\x00\x07queueId", 9)
            mark = p
            p = put_number(p + 4, reply.queue_id)
            put4(mark, <uint32_t>(p - mark - 4))
            p = put_text(p, "\x00\x0bqueueOffset", 13)
            mark = p
            p = put_number(p + 4, queue_offset)
            put4(mark, <uint32_t>(p - mark - 4))
            p = put_text(p, "\x00\x0dtransactionId", 15)
            p = put4(p, <uint32_t>reply.unique_size)
            p = put_text(p, <const char*>unique, reply.unique_size)
            p = put_text(p, "\x00\x0aMSG_REGION", 12)
            p = put4(p, <uint32_t>PyBytes_GET_SIZE(region))
            p = put_text(p, PyBytes_AS_STRING(region), PyBytes_GET_SIZE(region))
            p = put_text(p, "\x00\x08TRACE_ON", 10)
            p = put4(p, <uint32_t>PyBytes_GET_SIZE(trace))
            p = put_text(p, PyBytes_AS_STRING(trace), PyBytes_GET_SIZE(trace))
            put4(ext, <uint32_t>(p - ext - 4))
        put4(begin, <uint32_t>(p - begin - 4))
        put4(begin + 4, <uint32_t>(p - begin - PREFIX) | (<uint32_t>reply.serialize_type << 24))
        return p

    cdef uint8_t* _write_ids(self, uint8_t* p, Reply* reply, bytes host) noexcept:
        cdef Py_ssize_t i, k, n = PyBytes_GET_SIZE(host)
        cdef const uint8_t* h = <const uint8_t*>PyBytes_AS_STRING(host)
        cdef const char* digits = "0123456789ABCDEF"
        cdef int64_t place
        cdef int shift
        for i in range(reply.first, reply.first + reply.count):
            if i > reply.first:
                p[0] = c','
                p += 1
            for k in range(n):
                p[0] = <uint8_t>digits[h[k] >> 4]
                p[1] = <uint8_t>digits[h[k] & 15]
                p += 2
            place = self.store_plan._records[i].physical_offset
            shift = 60
            while shift >= 0:
                p[0] = <uint8_t>digits[(place >> shift) & 15]
                p += 1
                shift -= 4
        return p

    cdef bytes _slow_answer(self, Reply* reply, int code):
        cdef bytes unique = PyBytes_FromStringAndSize(
            <char*>self.store_plan.text_at(reply.unique_range, reply.unique_at), reply.unique_size
        )
        cdef bytes host = self.suffix.store_host
        ids = [
            (host + int(self.store_plan._records[i].physical_offset).to_bytes(8, "big")).hex().upper()
            for i in range(reply.first, reply.first + reply.count)
        ]
        fields = {
            "msgId": ",".join(ids),
            "queueId": str(reply.queue_id),
            "queueOffset": str(self.store_plan._records[reply.first].queue_offset),
            "transactionId": unique.decode("utf-8", "replace"),
        }
        return encoded_answer(self.suffix, reply.opaque, reply.serialize_type, code, None, fields)

    cdef int _add_reply(self, Header* header, uint8_t serialize_type, int32_t queue_id, Py_ssize_t first, bint waits,
                        Py_ssize_t unique_at, Py_ssize_t unique_size) except -1:
        cdef Py_ssize_t capacity
        cdef Reply* grown
        cdef Reply* reply
        if self.reply_count == self._reply_capacity:
            capacity = self._reply_capacity * 2 if self._reply_capacity else 8
            grown = <Reply*>realloc(self._replies, capacity * sizeof(Reply))
            if grown == NULL:
                raise MemoryError
            self._replies = grown
            self._reply_capacity = capacity
        reply = &self._replies[self.reply_count]
        reply.opaque = header.opaque
        reply.queue_id = queue_id
        reply.first = <int32_t>first
        reply.count = <int32_t>(self.store_plan.count - first)
        reply.unique_range = self.store_plan._records[first].range_number
        reply.unique_at = unique_at
        reply.unique_size = <int32_t>unique_size
        reply.serialize_type = serialize_type
        reply.waits = waits
        self.reply_count += 1
        if waits:
            self.waiting_count += 1
        return 0

    cdef int _count(self, Lane lane, int32_t queue_id, int64_t messages, int64_t size, int64_t number) except -1:
        cdef Count* grown
        cdef Py_ssize_t capacity
        cdef QueueSlot* slot = &lane.slots[queue_id]
        cdef Count* count
        if slot.plan_number != number:
            if self._count_count == self._count_capacity:
                capacity = self._count_capacity * 2 if self._count_capacity else 8
                grown = <Count*>realloc(self._counts, capacity * sizeof(Count))
                if grown == NULL:
                    raise MemoryError
                self._counts = grown
                self._count_capacity = capacity
            if self._lanes is None:
                self._lanes = []
            if not self._lanes or self._lanes[len(self._lanes) - 1] is not lane:
                self._lanes.append(lane)
            slot.plan_number = number
            slot.count_index = <int32_t>self._count_count
            count = &self._counts[self._count_count]
            count.lane = <int32_t>(len(self._lanes) - 1)
            count.queue_id = queue_id
            count.messages = count.bytes = count.requests = 0
            self._count_count += 1
            # The plan's records point to the queue.
            self.store_plan.keep(lane.queues[queue_id])
        count = &self._counts[slot.count_index]
        count.messages += messages
        count.bytes += size
        count.requests += 1
        return 0


cdef bint is_plain(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    """Stands in a JSON string as it is: letters, digits, - and _, at least one letter or digit."""
    cdef Py_ssize_t i
    cdef uint8_t c
    cdef bint any_letter = False
    for i in range(size):
        c = p[i]
        if (c >= 48 and c <= 57) or (c >= 65 and c <= 90) or (c >= 97 and c <= 122):
            any_letter = True
        elif c != c'-' and c != c'_':
            return False
    return any_letter


# --- the engine

cdef class HotEngine:
    """One per broker. Topics, queues and settings stay with their owners and are read where they are."""

    cdef readonly object name
    cdef object _broker
    cdef object _suffix
    cdef bytes _suffix_bytes
    cdef dict _lanes
    cdef Lane _last
    cdef bytes _last_name
    cdef int64_t _plan_number
    cdef uint8_t* _scratch
    cdef Py_ssize_t _scratch_size
    cdef object _table
    cdef object _queues
    cdef bytes _store_host
    cdef int64_t _batch_bytes_max

    def __cinit__(self):
        self.name = "c"
        self._lanes = {}

    def __init__(self, broker):
        self._broker = broker
        self._suffix = SendSuffix()

    def __dealloc__(self):
        free(self._scratch)

    def decoder(self, frame_bytes_max, header_bytes_max):
        """What keeps the bytes of one connection."""
        return FrameCutter(frame_bytes_max, header_bytes_max)

    def plan(self):
        """An empty plan."""
        cdef HotPlan plan = HotPlan.__new__(HotPlan)
        self._plan_number += 1
        plan.number = self._plan_number
        return plan

    def ingest(self, HotPlan plan not None, FrameCutter cutter not None, channel, bytes data not None):
        """Cuts frames, lays out the common sends in the plan, and returns the others.

        Raises: RemoteProtocolError when the bytes begin with something that is no frame; behind whole frames it is
                left in the plan's `failure`.
        """
        cdef list frames = []
        cdef Py_ssize_t first = plan.reply_count, messages = plan.message_count
        cdef const uint8_t* p
        cdef Py_ssize_t size, at = 0, have
        cdef int64_t total
        cdef int32_t length
        cdef Py_ssize_t header_size
        cdef bint from_cutter = cutter._size > 0, bad = False
        cdef bytes born
        if from_cutter:
            cutter.append(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            p = cutter._held
            size = cutter._size
            if size >= 4 and size - 4 < <int32_t>get4(p) and <int32_t>get4(p) <= cutter.frame_bytes_max - 4 and size >= 8:
                # Still the same unfinished frame, and its beginning was looked at before.
                if PyBytes_GET_SIZE(data) < size - 8:
                    return frames
        else:
            p = <const uint8_t*>PyBytes_AS_STRING(data)
            size = PyBytes_GET_SIZE(data)
        born = cutter.born_host(channel.remote_host, channel.remote_port)
        try:
            while True:
                have = size - at
                if have < 4:
                    break
                length = <int32_t>get4(p + at)
                total = length
                if total > cutter.frame_bytes_max - 4 or total < 4:
                    bad = True
                    break
                if have < PREFIX:
                    break
                header_size = get4(p + at + 4) & 0xFFFFFF
                if header_size > total - 4 or header_size > cutter.header_bytes_max or p[at + 4] > 1:
                    bad = True
                    break
                if have < 4 + total:
                    break
                if not (
                    born is not None
                    and self._send(
                        plan, p[at + 4], p + at + PREFIX, header_size, p + at + PREFIX + header_size,
                        <Py_ssize_t>(total - 4 - header_size), born
                    )
                ):
                    frames.append(
                        Frame(
                            <int>p[at + 4],
                            PyBytes_FromStringAndSize(<char*>p + at + PREFIX, header_size),
                            PyBytes_FromStringAndSize(
                                <char*>p + at + PREFIX + header_size, <Py_ssize_t>(total - 4 - header_size)
                            ),
                        )
                    )
                at += <Py_ssize_t>(4 + total)
            if bad:
                self._fail(
                    cutter, plan, PyBytes_FromStringAndSize(<char*>p + at, min(size - at, PREFIX)),
                    not frames and plan.message_count == messages,
                )
        finally:
            if plan.reply_count > first:
                plan.sections.append((channel, first, plan.reply_count))
        if from_cutter:
            cutter.keep_from(at)
        elif at < size:
            cutter.append(p + at, size - at)
        return frames

    def _fail(self, FrameCutter cutter, HotPlan plan, bytes beginning, bint at_once):
        """What is wrong is for the one decoder that has words for it to say."""
        decoder = FrameDecoder(cutter.frame_bytes_max, cutter.header_bytes_max)
        decoder.receive_data(beginning)
        try:
            decoder.next_frame()
        except RemoteProtocolError as error:
            if at_once:
                raise
            plan.failure = error

    # -- inside

    cdef bint _accepts(self, HotPlan plan) except -1:
        broker = self._broker
        if plan.suffix is not None:
            return True
        if not short_way(broker):
            return False
        self._suffix = self._suffix.of(broker)
        self._suffix_bytes = self._suffix.properties
        self._store_host = self._suffix.store_host
        if self._store_host is None:
            return False
        self._table = broker.topics.table
        self._queues = broker.store.queue_table
        self._batch_bytes_max = broker.config.mapped_file_size_commit_log >> 1
        plan.suffix = self._suffix
        return True

    cdef Lane _lane(self, Found* topic, int64_t plan_number):
        """The topic's lane, its settings as they are now; None when its sends go the long way."""
        cdef Lane lane = self._last
        cdef bytes key
        if lane is None or topic.size != PyBytes_GET_SIZE(self._last_name) or memcmp(
            topic.at, PyBytes_AS_STRING(self._last_name), topic.size
        ) != 0:
            key = PyBytes_FromStringAndSize(<char*>topic.at, topic.size)
            lane = <Lane>self._lanes.get(key)
            if lane is None:
                lane = self._new_lane(key)
                if lane is None:
                    return None
            self._last = lane
            self._last_name = key
        if lane.checked_by != plan_number:
            lane.checked_by = plan_number
            config = self._table.get(lane.name)
            if config is not lane.config:
                if config is None:
                    self._lanes.pop(self._last_name, None)
                    self._last = None
                    return None
                self._adopt(lane, config)
            if lane.queue_changes != <int64_t>self._queues.changes:
                lane.queue_changes = self._queues.changes
                lane.queues = [None] * lane.slot_count
        return lane if lane.usable else None

    cdef Lane _new_lane(self, bytes key):
        cdef Lane lane
        cdef str name = key.decode()
        config = self._table.get(name)
        if config is None or not name or name[0] == "%":
            return None
        lane = Lane()
        lane.name = name
        lane.queue_changes = -1
        self._adopt(lane, config)
        self._lanes[key] = lane
        return lane

    cdef int _adopt(self, Lane lane, config) except -1:
        lane.config = config
        lane.read_queue_nums = config.read_queue_nums
        lane.write_queue_nums = config.write_queue_nums
        lane.usable = (
            config.topic_filter_type == _SINGLE_TAG and not topic_validator.is_not_allowed_send_topic(lane.name)
        )
        return 0

    cdef bint _send(self, HotPlan plan, uint8_t serialize_type, const uint8_t* header_at, Py_ssize_t header_size,
                    const uint8_t* body, Py_ssize_t body_size, bytes born) except -1:
        """Lays out one send; False leaves the frame to others, and the plan as it was."""
        cdef Header header
        cdef Scan scan
        cdef Laid laid
        cdef Lane lane
        cdef QueueTail queue
        cdef AppendPlan store_plan
        cdef int64_t queue_id, flags, flag, reconsume, born_timestamp, ignored
        cdef int i
        cdef bint waits, batch
        cdef Found* text
        cdef Py_ssize_t first, record_bytes, shared_size, at
        cdef int64_t end
        cdef const uint8_t* properties
        cdef bint open_end
        cdef uint8_t* joined
        if serialize_type == 1:
            if not read_binary(header_at, header_size, &header):
                return False
        else:
            if header_size > self._scratch_size:
                free(self._scratch)
                self._scratch_size = 0
                self._scratch = <uint8_t*>malloc(header_size * 2)
                if self._scratch == NULL:
                    raise MemoryError
                self._scratch_size = header_size * 2
            if not read_json(header_at, header_size, self._scratch, &header):
                return False
        if header.flag & 1:
            return False
        for i in range(REQUIRED):
            if header.field[i].at == NULL:
                return False
        text = &header.field[PROPERTIES]
        if text.at == NULL or text.size == 0:
            return False
        if (
            not read_number(&header.field[QUEUE_ID], &queue_id, 9)
            or not read_number(&header.field[SYS_FLAG], &flags, 9)
            or not read_number(&header.field[FLAG], &flag, 9)
            or not read_number(&header.field[BORN], &born_timestamp, 18)
            or not read_number(&header.field[QUEUE_NUMS], &ignored, 9)
        ):
            return False
        reconsume = 0
        if header.field[RECONSUME].at != NULL and not read_number(&header.field[RECONSUME], &reconsume, 9):
            return False
        if header.field[MAX_RECONSUME].at != NULL and not read_number(&header.field[MAX_RECONSUME], &ignored, 9):
            return False
        if flags & _RARE_FLAGS:
            return False
        scan_properties(text.at, text.size, &scan)
        if scan.rare or not scan.names_unique or scan.unique.at == NULL:
            return False
        if not self._accepts(plan):
            return False
        lane = self._lane(&header.field[TOPIC], plan.number)
        if queue_id >= QUEUE_ID_END:
            return False
        if lane is None or (queue_id >= lane.write_queue_nums and queue_id >= lane.read_queue_nums):
            return False
        waits = scan.wait.at == NULL or is_true(&scan.wait)
        batch = header.code == 320 or is_true(&header.field[BATCH])
        store_plan = plan.store_plan
        if store_plan is None:
            # Whether it is opened or not, the caller ends it.
            store_plan = plan.store_plan = self._broker.store.new_plan()
        if lane.row is None:
            try:
                lane.row = store_plan._rules.row(lane.name)
            except MessageIllegal:
                return False
        open_end = text.at[text.size - 1] != 2
        shared_size = text.size + open_end + PyBytes_GET_SIZE(self._suffix_bytes)
        if batch:
            if not self._members_fit(store_plan, lane.row, body, body_size, shared_size):
                return False
        elif not store_plan.fits(body_size, shared_size, lane.row):
            return False
        if lane.slot_count <= queue_id:
            lane.reserve(<Py_ssize_t>queue_id + 1)
        queue = <QueueTail>lane.queues[<Py_ssize_t>queue_id]
        if queue is None:
            queue = self._queues.find_or_create(lane.name, queue_id)
            lane.queue_changes = self._queues.changes
            lane.queues[<Py_ssize_t>queue_id] = queue
        # From here on nothing refuses it.
        laid.born_host = <const uint8_t*>PyBytes_AS_STRING(born)
        laid.born_host_size = PyBytes_GET_SIZE(born)
        laid.store_host = <const uint8_t*>PyBytes_AS_STRING(self._store_host)
        laid.store_host_size = PyBytes_GET_SIZE(self._store_host)
        laid.born_timestamp = born_timestamp
        laid.queue_id = <int32_t>queue_id
        laid.sys_flag = <int32_t>flags
        laid.reconsume_times = <int32_t>reconsume
        laid.unique = scan.unique
        first = store_plan.count
        end = store_plan.end
        if batch:
            properties = text.at
            joined = <uint8_t*>malloc(shared_size)
            if joined == NULL:
                raise MemoryError
            try:
                memcpy(joined, text.at, text.size)
                if open_end:
                    joined[text.size] = 2
                memcpy(
                    joined + text.size + open_end, PyBytes_AS_STRING(self._suffix_bytes), PyBytes_GET_SIZE(self._suffix_bytes)
                )
                laid.shared = joined
                laid.shared_size = shared_size
                record_bytes = self._lay_out_members(store_plan, lane.row, queue, &laid, &scan, body, body_size)
            finally:
                free(joined)
            at = store_plan._records[first].properties_at + store_plan._records[first].properties_size - shared_size
        else:
            laid.body = body
            laid.body_size = body_size
            laid.flag = <int32_t>flag
            laid.own = text.at
            laid.own_size = text.size
            laid.own_open = open_end
            laid.shared = <const uint8_t*>PyBytes_AS_STRING(self._suffix_bytes)
            laid.shared_size = PyBytes_GET_SIZE(self._suffix_bytes)
            laid.tags = scan.tags
            laid.keys = scan.keys
            store_plan.lay_out(lane.row, queue, &laid)
            record_bytes = store_plan._records[first].size
            at = store_plan._records[first].properties_at
        if waits:
            store_plan.must_wait = True
        plan.message_count += store_plan.count - first
        plan._count(lane, <int32_t>queue_id, store_plan.count - first, record_bytes, plan.number)
        if not header.flag & 2:
            plan._add_reply(
                &header, serialize_type, <int32_t>queue_id, first, waits, at + (scan.unique.at - text.at), scan.unique.size
            )
        return True

    cdef bint _members_fit(self, AppendPlan plan, TopicRow row, const uint8_t* body, Py_ssize_t size,
                           Py_ssize_t shared_size) except -1:
        """Whether a batch is whole, nothing in it is unusual, and it is within all limits."""
        cdef Py_ssize_t at = 0, body_at, properties_at
        cdef int64_t total = 0
        cdef int32_t member_size, member_body, count = 0, own_size
        cdef Scan scan
        cdef bint open_end
        if size == 0 or size > self._batch_bytes_max:
            return False
        while at < size:
            count += 1
            if count > _BATCH_COUNT_MAX or size - at < BATCH_FIXED:
                return False
            member_size = <int32_t>get4(body + at)
            member_body = <int32_t>get4(body + at + 16)
            body_at = at + 20
            if member_body < 0 or member_body > size - body_at - 2:
                return False
            own_size = <int32_t>get2(body + body_at + member_body)
            properties_at = body_at + member_body + 2
            if own_size > 32767 or own_size > size - properties_at or member_size != properties_at + own_size - at:
                return False
            scan_properties(body + properties_at, own_size, &scan)
            if scan.rare:
                return False
            if has_high(body + properties_at, own_size) and not is_utf8(body + properties_at, own_size):
                return False
            open_end = own_size > 0 and body[properties_at + own_size - 1] != 2
            if not plan.fits(member_body, own_size + open_end + shared_size, row):
                return False
            total += member_body + own_size + open_end + shared_size
            if total > plan._size_max:
                return False
            at = properties_at + own_size
        return True

    cdef Py_ssize_t _lay_out_members(self, AppendPlan plan, TopicRow row, QueueTail queue, Laid* laid, Scan* shared,
                                     const uint8_t* body, Py_ssize_t size) except -1:
        """Lays out a batch that fits; returns the bytes of its records. What the batch says counts before what a member says."""
        cdef Py_ssize_t at = 0, record_bytes = 0
        cdef int32_t member_body, own_size
        cdef Scan own
        while at < size:
            member_body = <int32_t>get4(body + at + 16)
            own_size = <int32_t>get2(body + at + 20 + member_body)
            laid.flag = <int32_t>get4(body + at + 12)
            laid.body = body + at + 20
            laid.body_size = member_body
            laid.own = body + at + 22 + member_body
            laid.own_size = own_size
            laid.own_open = own_size > 0 and laid.own[own_size - 1] != 2
            scan_properties(laid.own, own_size, &own)
            laid.tags = shared.tags if shared.tags.at != NULL else own.tags
            laid.keys = shared.keys if shared.keys.at != NULL else own.keys
            plan.lay_out(row, queue, laid)
            record_bytes += plan._records[plan.count - 1].size
            at += 22 + member_body + own_size
        return record_bytes
